"""What a reward model reads: the conversation that is answered, and each answer as one turn of it.

The client's request is for the policy. A reward model must see what the policy was asked and what
came of it, in the form in which it was trained: text, no reasoning before the answer, and what the
client began of the answer in the same turn as the rest.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
    ) -> RewardView:
        """Raises BadRequestError for a part that the reward model cannot read, where
        ``non_text_parts`` is to refuse it."""
        messages = readable(request.messages, non_text_parts)
        if prefill is not None:
            prefill = prefill.reworded(messages[-1])
            messages = messages[:-1]
        tools = request.sampling.get("tools")
        return cls(RewardRequest(messages, tools, request.caller), thinking, prefill)

    def answer(self, message: Message) -> dict[str, Any]:
        """A candidate's message as the turn that is judged."""
        content = message.get("content") or said(message)
        answer: dict[str, Any] = {}
        calls = list(message.get("tool_calls") or ())
        if self.prefill is not None:
            opening = self.prefill.opening
            answer = {key: value for key, value in opening.items() if key not in _REASONING}
            calls = [*(answer.pop("tool_calls", None) or ()), *calls]
            content = self.prefill.whole(content)
        answer |= {"role": "assistant", "content": after_thinking(content, self.thinking) or ""}
        if calls:
            answer["tool_calls"] = calls
        return answer
