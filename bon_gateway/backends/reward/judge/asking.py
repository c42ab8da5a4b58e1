"""A method's way to the judge, for one call of ``score``.

It renders the question, posts it, reads the reply, counts the cost and keeps to the budget. If no
verdict comes, it counts an abstention, and the method goes on without it.

This is the only place that retries a call: once, if the judge is overloaded and names a short
pause, or if the connection was lost. Strategies ask for rewards again only if the judge answered no
call at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from bon_gateway.backends.http.faults import Fault, UpstreamError, malformed
from bon_gateway.backends.http.usage import read_usage
from bon_gateway.backends.reward.judge.case import LONG, Budget, Case
from bon_gateway.backends.reward.judge.fence import fence_of
from bon_gateway.backends.reward.judge.prompt import Prompt, PromptError
from bon_gateway.backends.reward.judge.reply import NoReplyError, Reply, read_reply
from bon_gateway.backends.reward.judge.tokens import why_none
from bon_gateway.judging import JudgeUsage
from bon_gateway.thinking import ThinkingSettings

CHAT = "/v1/chat/completions"
TOP_LOGPROBS = 20
"""The most that OpenAI and vLLM give by default."""
LONGEST_WAIT_S = 5.0
"""Longest pause before a retry, in seconds: the client is waiting."""
SHORT_WAIT_S = 0.5
"""Pause before a retry if an overloaded judge names none, in seconds."""
MOST_QUOTED = 60
"""Characters of a reply in ``Unread.quoted``."""

Post = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Posts a body to one of the judge's paths and returns the answer. Raises UpstreamError."""


class Question(msgspec.Struct, frozen=True):
    """One question to the judge."""

    variables: Mapping[str, Any]
    """The method's variables for the template."""
    max_tokens: int
    """Room for the verdict. A value in the settings' ``sampling`` takes its place."""
    logprobs: bool = False
    """Whether to read the verdict from the probabilities of its tokens."""
    repeat: int = 0
    """Number of this repeat of the same question; part of the seed."""


class JudgeWay(msgspec.Struct, frozen=True):
    """Settings of every call to a judge."""

    prompt: Prompt
    sampling: Mapping[str, Any]
    thinking: ThinkingSettings | None
    secret: bytes
    """See ``fence_of``."""
    lead: bool
    """Send the first question alone, so that the others find its prefix in the cache."""
    at_once: int
    """Calls that run at the same time for one request."""
    most_calls: int
    most_tokens: int | None
    """Budget of one request."""

    def budget(self) -> Budget:
        return Budget(self.most_calls, self.most_tokens)


class Unread(msgspec.Struct, frozen=True):
    """A reply without a verdict."""

    why: str
    """Quotes nothing."""
    text: str = ""
    """The beginning of the reply, only for questions that hold nobody's text but ours."""

    @property
    def quoted(self) -> str:
        return f"{self.why}: {self.text!r}" if self.text else self.why


class Asking:
    """``answers`` has every text that the questions may show."""

    def __init__(
        self,
        way: JudgeWay,
        case: Case,
        tools: Sequence[Any],
        answers: Sequence[str],
        post: Post,
    ) -> None:
        self._way = way
        self._case = case
        self._post = post
        self._common = {
            "conversation": case.conversation,
            "messages": case.messages,
            "tools": tools,
            "fence": fence_of(way.secret, (case.conversation, *answers)),
        }
        self._answers = answers
        self.answered = 0
        """Number of answered calls."""
        self.error: UpstreamError | None = None
        """The first failure that cost a verdict."""
        self.unread: Unread | None = None
        """The first reply without a verdict."""
        self._calls = 0
        self._prompt_tokens = self._cached_tokens = self._completion_tokens = 0
        self._abstentions = 0

    @property
    def usage(self) -> JudgeUsage:
        return JudgeUsage(
            calls=self._calls,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            completion_tokens=self._completion_tokens,
            abstentions=self._abstentions,
        )

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Fields that the settings add to each call; ``ask`` adds them itself."""
        return self._way.sampling

    @property
    def calls_left(self) -> int:
        """Number of calls that the budget still allows."""
        return self._case.budget.calls

    def chance(self) -> random.Random:
        """A source of orders and brackets. The same conversation and answers give the same numbers,
        in any order of arrival."""
        digest = hashlib.blake2b(digest_size=8)
        for text in (self._case.conversation, *sorted(self._answers)):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return random.Random(digest.digest())

    def abstain(self, reply: Reply) -> None:
        """Count a reply without a verdict."""
        if reply.tokens:
            why = "the letters of a verdict are too unlikely in its reply, see least_mass"
        elif reply.cut:
            why = "its reply was cut at max_tokens and has no verdict"
        else:
            why = "its reply has no verdict"
        self._unread(Unread(why, reply.text[:MOST_QUOTED]))

    def _unread(self, unread: Unread) -> None:
        self.unread = self.unread or unread
        self._abstentions += 1

    async def ask_all(self, questions: Sequence[Question]) -> list[Reply | None]:
        """The replies in the same order, see ``ask``. All questions go out at the same time."""
        # Once is enough, for all rounds of a tournament.
        alone = 1 if self._way.lead and len(questions) > 1 and not self.answered else 0
        led = [await self.ask(question) for question in questions[:alone]]
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self.ask(question)) for question in questions[alone:]]
        return [*led, *(task.result() for task in asked)]

    async def ask(self, question: Question) -> Reply | None:
        """The judge's reply; None, counted as an abstention, if no readable reply came."""
        # Render only now: the prompts of all waiting questions may be large together.
        async with self._case.at_once:
            text = await self._prompted(question.variables)
            if text is None:
                return None
            answer = await self._send(CHAT, self._body(question, text))
        if answer is None:
            return None
        try:
            reply = read_reply(answer, self._way.thinking)
        except NoReplyError as error:
            self._unread(Unread(str(error)))
            return None
        if question.logprobs and not reply.tokens:
            self.fail(malformed(why_none(reply.listed)))
            return None
        return reply

    def _body(self, question: Question, text: str) -> dict[str, Any]:
        body = {
            "messages": _messages(text),
            "temperature": 0,
            "max_tokens": question.max_tokens,
        }
        if question.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        body |= self._way.sampling
        seed = body.get("seed")
        if isinstance(seed, int):
            body["seed"] = seed + question.repeat
        # Null leaves a field out, for judges that do not know it.
        return {key: value for key, value in body.items() if value is not None}

    async def _prompted(self, variables: Mapping[str, Any]) -> str | None:
        """The question's text; None, counted as an abstention, if it cannot be rendered."""
        shown = {**self._common, **variables}
        try:
            if len(self._case.conversation) + sum(map(len, self._answers)) > LONG:
                return await asyncio.to_thread(self._way.prompt.render, shown)
            return self._way.prompt.render(shown)
        except PromptError as error:
            self.fail(UpstreamError(Fault.FAILED, f"The prompt cannot be rendered: {error}."))
            return None

    def fail(self, error: UpstreamError) -> None:
        """A verdict is lost to ``error``."""
        self.error = self.error or error
        self._abstentions += 1

    async def call(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The judge's answer to one call; None, counted as an abstention, if there is none."""
        async with self._case.at_once:
            return await self._send(path, body)

    async def _send(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        for last in (False, True):
            if not self._case.budget.take_call():
                self._abstentions += 1
                return None
            self._calls += 1
            try:
                answer = await self._post(path, body)
            except UpstreamError as error:
                pause = None if last else _pause(error)
                if pause is None:
                    self.fail(error)
                    return None
                await asyncio.sleep(pause)
            else:
                self._pay(answer.get("usage"))
                return answer
        return None

    async def free(
        self, path: str, body: Mapping[str, Any], question: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Like ``post`` for a call that runs no model and costs nothing, such as tokenising.
        ``question`` has the variables of the prompt that the call is about."""
        async with self._case.at_once:
            if question is not None:
                text = await self._prompted(question)
                if text is None:
                    return None
                body = {**body, "messages": _messages(text)}
            try:
                return await self._post(path, body)
            except UpstreamError as error:
                self.fail(error)
                return None

    def _pay(self, usage: Any) -> None:
        self.answered += 1
        took = read_usage(usage)
        self._prompt_tokens += took.prompt_tokens
        self._cached_tokens += took.cached_tokens
        self._completion_tokens += took.completion_tokens
        self._case.budget.spend(took.prompt_tokens + took.completion_tokens)


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _pause(error: UpstreamError) -> float | None:
    """Seconds to wait before a retry; None if a retry is useless."""
    if error.kind is Fault.OVERLOADED:
        wait = SHORT_WAIT_S if error.retry_after is None else error.retry_after
        return wait if wait <= LONGEST_WAIT_S else None
    # The connection was lost, maybe with the call; another replica may be up.
    lost = error.kind in (Fault.UNREACHABLE, Fault.CUT) and not error.none_up and not error.ours
    return 0.0 if lost else None
