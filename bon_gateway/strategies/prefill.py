"""The beginning of an answer that the client wrote itself, as the last message of its request.

With ``continue_final_message`` the policy continues that message, and its content is only the rest.
With ``echo`` vLLM repeats the message before what it generates. In both cases the message and the
rest are one turn of the assistant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bon_common.messages import part_text
from bon_gateway.types import ChatRequest, Message

LINE = "\n"
"""Joins the text parts of one message, as vLLM does when it repeats them."""


@dataclass(frozen=True, slots=True)
class Prefill:
    opening: Message
    text: str
    """The text in ``opening``."""
    echoed: bool
    """Whether a candidate's content already begins with it."""

    @classmethod
    def of(cls, request: ChatRequest) -> Prefill | None:
        """None if the candidates begin a turn of their own."""
        echo = bool(request.sampling.get("echo"))
        last = request.messages[-1]
        if last.get("role") != "assistant":
            return None
        if not (echo or request.sampling.get("continue_final_message")):
            return None
        return cls(last, texts_in(last.get("content")), echo)

    def reworded(self, opening: Message) -> Prefill:
        """The same with another ``opening``: the one that the reward model reads."""
        return replace(self, opening=opening, text=texts_in(opening.get("content")))

    def whole(self, content: str) -> str:
        """The text of the whole turn, given a candidate's content."""
        return content if self.echoed else self.text + content

    def added(self, content: str) -> str:
        """The text that the policy generated, given a candidate's content."""
        return content.removeprefix(self.text) if self.echoed else content


def texts_in(content: object) -> str:
    """The text in a message's content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    texts = (part_text(part) for part in parts)
    return LINE.join(text for text in texts if text is not None)
