"""The beginning of an answer that the client wrote itself, as the last message of its request.

With ``continue_final_message`` the policy goes on where that message ends, and its content is the
rest alone; with ``echo`` vLLM repeats the message in front of what it generates. Either way both
are one turn of the assistant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bon_common.messages import part_text
from bon_gateway.types import ChatRequest, Message

LINE = "\n"
"""Between the text parts of one message: where vLLM repeats them, it joins them with this."""


@dataclass(frozen=True, slots=True)
class Prefill:
    opening: Message
    text: str
    """What ``opening`` says."""
    echoed: bool
    """Whether the content of a candidate begins with it already."""

    @classmethod
    def of(cls, request: ChatRequest) -> Prefill | None:
        """None where the candidates begin a turn of their own."""
        echo = bool(request.sampling.get("echo"))
        last = request.messages[-1]
        if last.get("role") != "assistant":
            return None
        if not (echo or request.sampling.get("continue_final_message")):
            return None
        return cls(last, content_text(last.get("content")), echo)

    def reworded(self, opening: Message) -> Prefill:
        """With ``opening`` in the words that a reward model reads."""
        return replace(self, opening=opening, text=content_text(opening.get("content")))

    def whole(self, content: str) -> str:
        """The whole turn's text, out of a candidate's content."""
        return content if self.echoed else self.text + content

    def added(self, content: str) -> str:
        """What the policy generated, out of a candidate's content."""
        return content.removeprefix(self.text) if self.echoed else content


def content_text(content: object) -> str:
    """The text in a message's content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    texts = (part_text(part) for part in parts)
    return LINE.join(text for text in texts if text is not None)
