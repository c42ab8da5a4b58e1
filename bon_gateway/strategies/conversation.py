"""What a reward model reads: the conversation, and each answer as one turn of it.

The client's request is made for the policy. A reward model must see the question and the answer in
the form in which it was trained: text, no reasoning before the answer, and the beginning of the
answer that the client wrote (the prefill) in the same turn as the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bon_gateway.judging import JudgeBill
from bon_gateway.strategies.parts import readable, said
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.thinking import ThinkingSettings, after_thinking
from bon_gateway.types import ChatRequest, Message, NonTextParts, RewardRequest

_REASONING = frozenset({"reasoning", "reasoning_content"})


class RewardView(msgspec.Struct, frozen=True):
    request: RewardRequest
    """The conversation up to where the answer begins."""
    thinking: ThinkingSettings | None
    prefill: Prefill | None

    @classmethod
    def of(
        cls,
        request: ChatRequest,
        thinking: ThinkingSettings | None,
        prefill: Prefill | None,
        non_text_parts: NonTextParts,
        bill: JudgeBill | None = None,
    ) -> RewardView:
        """Raises BadRequestError for a part that the reward model cannot read, if
        ``non_text_parts`` is ``refuse``. ``bill`` belongs to the client's request; None makes a new
        one."""
        messages = readable(request.messages, non_text_parts)
        if prefill is not None:
            prefill = prefill.reworded(messages[-1])
            messages = messages[:-1]
        tools = request.sampling.get("tools")
        metadata = request.sampling.get("metadata")
        asked = RewardRequest(
            messages,
            tools,
            request.caller,
            metadata=metadata if isinstance(metadata, Mapping) else {},
            bill=JudgeBill() if bill is None else bill,
        )
        return cls(asked, thinking, prefill)

    def answer(self, message: Message) -> dict[str, Any]:
        """The turn to score: a candidate's message with the prefill, without reasoning."""
        answer: dict[str, Any] = {}
        calls = list(message.get("tool_calls") or ())
        if self.prefill is not None:
            opening = self.prefill.opening
            answer = {key: value for key, value in opening.items() if key not in _REASONING}
            calls = [*(answer.pop("tool_calls", None) or ()), *calls]
        text = answer_text(message, self.thinking, self.prefill)
        answer |= {"role": "assistant", "content": text}
        if calls:
            answer["tool_calls"] = calls
        return answer


def answer_text(
    message: Message, thinking: ThinkingSettings | None, prefill: Prefill | None
) -> str:
    """What a candidate's message says, with the prefill and without thinking."""
    content = message.get("content") or said(message)
    if prefill is not None:
        content = prefill.whole(content)
    return after_thinking(content, thinking) or ""
