"""RewardBackend over a judging chat model at any OpenAI endpoint.

All calls of one request go to one replica while it is healthy, because its prefix cache holds the
conversation. An answer without a verdict has no reward, and ``Scores.missing`` says why: chance
never replaces a judge. If the judge answered no call at all, it raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from bon_gateway.backends.http.client import encode, model_name, read_answer
from bon_gateway.backends.http.faults import Fault, UpstreamError, reward_error
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.backend import Pooled
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.backends.reward.judge.asking import CHAT, Asking, JudgeWay, Post
from bon_gateway.backends.reward.judge.case import Budget, Case, answer_texts, open_case
from bon_gateway.backends.reward.judge.method import Method
from bon_gateway.backends.reward.local import WARM_UP, Unannounced
from bon_gateway.errors import AbstainedError, RewardError
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores

LARGE = 262_144
"""Bytes above which an answer is read in a thread. Log-probabilities of long thinking take millions
of bytes."""
MODELS = "/v1/models"


class JudgeReward(Unannounced, Pooled):
    def __init__(
        self,
        settings: UpstreamSettings,
        api_key: str | None,
        way: JudgeWay,
        method: Method,
        *,
        compares: bool,
        non_text_parts: NonTextParts,
        look_up: LookUp = look_up,
    ) -> None:
        self.compares = compares
        self.non_text_parts: NonTextParts = non_text_parts
        self._model = settings.model
        self._way = way
        self._method = method
        self._cases: WeakKeyDictionary[RewardRequest, Case] = WeakKeyDictionary()
        # Every OpenAI endpoint lists its models; few have an address for their health.
        super().__init__(settings, api_key, look_up, call_path=CHAT, health_path=MODELS)

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if not completions:
            return Scores((), 0)
        case = await self._case(request)
        texts = await answer_texts(completions)
        # Answers that read alike get one reward: two calls of a tool may differ in their ids alone.
        answers = [text for text in dict.fromkeys(texts) if text not in case.rewards]
        asking = self._asking(request, case, answers, partial(self._leased, request, case))
        try:
            found = dict(zip(answers, await self._judged(asking, answers), strict=True))
        finally:
            request.bill.add(asking.usage)
        rewards = tuple([case.rewards[t] if t in case.rewards else found[t] for t in texts])
        if not self.compares:
            case.rewards |= {text: one for text, one in found.items() if one is not None}
        lacking = rewards.count(None)
        missing = _missing(asking, lacking, len(rewards)) if lacking else None
        return Scores(rewards, 0, missing, judging=asking.usage)

    async def _judged(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        return await self._method.rewards(asking, answers) if answers else ()

    async def _case(self, request: RewardRequest) -> Case:
        """The state that all calls of one request share, such as the budget."""
        case = self._cases.get(request)
        if case is None:
            opened = await open_case(request, self._way.budget(), self._way.at_once)
            case = self._cases.setdefault(request, opened)
        return case

    def _asking(
        self, request: RewardRequest, case: Case, answers: Sequence[str], post: Post
    ) -> Asking:
        return Asking(self._way, case, request.tools or (), answers, post)

    async def _leased(
        self, request: RewardRequest, case: Case, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        with self._pool.lease(1, request.request_id, prefer=case.home) as lease:
            case.home = lease.replica
            try:
                answer = await self._post(lease.replica, request.headers(), path, body)
            except UpstreamError as error:
                lease.done(error)
                raise
            lease.done()
            return answer

    async def _post(
        self, replica: Replica, headers: Mapping[str, str], path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        url = replica.call
        if path != CHAT:
            url = url.with_path(url.path.removesuffix(CHAT) + path)
        whole = {"model": self._model or replica.model, **body}
        payload = await replica.client.payload(url, encode(whole), headers)
        if len(payload) > LARGE:
            return (await asyncio.to_thread(read_answer, payload)).body
        return read_answer(payload).body

    async def _warm_up(self, replica: Replica) -> None:
        """Ask one real question. A reply without a verdict is only noted: the judge may do better
        with other answers."""
        if self._model is None:
            replica.model = model_name(await replica.client.get(replica.models))
        request, answer = WARM_UP
        case = await open_case(request, Budget(1, None), 1)
        answers = await answer_texts([answer, {**answer, "content": "Hello"}])
        post = partial(self._post, replica, request.headers())
        asking = self._asking(request, case, answers, post)
        await self._method.rewards(asking, answers)
        if asking.error is not None:
            raise asking.error
        unread = asking.unread
        replica.note = None if unread is None else f"no verdict on a test answer: {unread.quoted}"


def _missing(asking: Asking, lacking: int, count: int) -> RewardError:
    """The error that says why answers have no reward. Raises it if the judge answered no call."""
    failure = asking.error
    if failure is None:
        why = "" if asking.unread is None else f": {asking.unread.why}"
        return AbstainedError(f"The judge gave no verdict on {lacking} of {count} answers{why}.")
    error = reward_error(failure)
    # A refusal may be about one answer alone, which is too long for example.
    if not asking.answered and failure.kind is not Fault.REFUSED:
        raise error from failure
    return error
