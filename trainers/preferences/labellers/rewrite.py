"""A model rewrites answers; what it wrote is preferred to what it was made from."""

from __future__ import annotations

from trainers.base.data import Message
from trainers.base.messages import text_of
from trainers.endpoint.chat import ask
from trainers.endpoint.http import JsonClient
from trainers.endpoint.work import together
from trainers.preferences.label_settings import RewriteSettings, fill
from trainers.preferences.labellers.judge import conversation_text
from trainers.preferences.labellers.protocol import Block
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Verdict

CUT = "rewrite cut at its token limit"
EMPTY = "empty rewrite"
SAME = "rewrite equals the answer"


class RewriteLabeller:
    """Asks an OpenAI endpoint for a better version of each answer."""

    block = 1

    def __init__(self, client: JsonClient, settings: RewriteSettings) -> None:
        self._client = client
        self._settings = settings
        self.concurrency = settings.endpoint.concurrency

    async def label(self, tasks: Block) -> list[Verdict]:
        return [await self._verdict(task) for task in tasks]

    async def _verdict(self, task: Listwise) -> Verdict:
        texts = [text_of(candidate.answer) for candidate in task.candidates]
        replies = await together(self._ask(task, text) for text in texts)
        rewrites, dropped = {}, dict[str, int]()
        for place, (text, (reply, finish_reason)) in enumerate(zip(texts, replies, strict=True)):
            fault = _fault(text, reply, finish_reason)
            if fault is None:
                rewrites[place] = reply
            else:
                dropped[fault] = dropped.get(fault, 0) + 1
        return Verdict(rewrites=rewrites, dropped=dropped)

    async def _ask(self, task: Listwise, answer: str) -> tuple[str, str | None]:
        text = fill(
            self._settings.prompt, conversation=conversation_text(task.prompt), answer=answer
        )
        reply = await ask(
            self._client,
            self._settings.endpoint,
            [Message(role="user", content=text)],
            temperature=self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            seed=0,
        )
        return reply.text.strip(), reply.finish_reason


def _fault(answer: str, rewrite: str, finish_reason: str | None) -> str | None:
    if not rewrite:
        return EMPTY
    if finish_reason == "length":
        return CUT
    return SAME if rewrite == answer.strip() else None
