"""Messages as text that a reward model can read.

OpenAI's and vLLM's content parts are images, audio, files and several kinds of text; a reward model
reads only text. Text in another form (a refusal, the transcript of a spoken answer) becomes plain
text here. A setting of the reward model decides about all other parts. If it says ``refuse``, the
request is refused before anything is drawn, because no answer to it could be scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bon_common.messages import part_text, split_reasoning
from bon_gateway.errors import BadRequestError
from bon_gateway.types import Message, NonTextParts

_PLACEHOLDERS = {
    **dict.fromkeys(("image_url", "input_image", "image", "image_pil", "image_embeds"), "[image]"),
    **dict.fromkeys(("input_audio", "audio_url", "audio", "audio_embeds"), "[audio]"),
    **dict.fromkeys(("video_url", "video", "video_embeds"), "[video]"),
    **dict.fromkeys(("file", "input_file"), "[file]"),
}
_OTHER = "[attachment]"
_LONGEST_TYPE = 40


def readable(
    messages: Sequence[Message], setting: NonTextParts, where: str = "messages"
) -> Sequence[Message]:
    """``messages`` as the reward model gets them, in the same number and order. Raises
    BadRequestError for a part that is not text if ``setting`` is ``refuse``; ``where`` is the place
    of the messages in the body."""
    if setting == "send" or all(map(_is_text, messages)):
        return messages
    read = [_message(message, f"{where}[{i}]", setting) for i, message in enumerate(messages)]
    same = all(new is old for new, old in zip(read, messages, strict=True))
    return messages if same else read


def said(message: Message) -> str:
    """What an assistant's message says in another field than its content."""
    for words in (message.get("refusal"), _transcript(message)):
        if isinstance(words, str) and words:
            return words
    return ""


def _is_text(message: Message) -> bool:
    """Whether it is plain text, as most messages are."""
    content = message.get("content")
    return isinstance(content, str) and content != ""


def _message(message: Message, where: str, setting: NonTextParts) -> Message:
    content = message.get("content")
    if isinstance(content, list) and message.get("role") == "assistant":
        # What an assistant thought is no part of its answer; reward models are trained without it.
        judged = split_reasoning(message)[0]
        if len(judged["content"]) < len(content):
            message, content = judged, judged["content"]
    if isinstance(content, list):
        parts = _parts(content, where, setting)
        return message if parts is content else {**message, "content": parts or ""}
    if content or message.get("role") != "assistant":
        return message
    words = said(message)
    if not words and message.get("audio"):
        # A reference to an answer that was spoken earlier.
        words = _in_place_of("audio", f"{where}.audio", setting) or ""
    return {**message, "content": words} if words else message


def _parts(content: list[Any], where: str, setting: NonTextParts) -> list[Any]:
    """``content`` itself if all of it is plain text."""
    if all(_is_plain(part) for part in content):
        return content
    parts = []
    for position, part in enumerate(content):
        words = part_text(part)
        if words is None:
            words = _in_place_of(_kind(part), f"{where}.content[{position}]", setting)
        if _is_plain(part):
            parts.append(part)
        elif words:
            parts.append({"type": "text", "text": words})
    return parts


def _in_place_of(kind: str, where: str, setting: NonTextParts) -> str | None:
    if setting == "refuse":
        raise BadRequestError(
            f"{where}: the reward model reads text only, and this part has the type"
            f" {kind[:_LONGEST_TYPE]!r}; the gateway's setting non_text_parts of the reward can"
            " leave such parts out of what it reads",
            param=where,
            code="unreadable_part",
        )
    return _PLACEHOLDERS.get(kind, _OTHER) if setting == "placeholder" else None


def _is_plain(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    )


def _kind(part: Any) -> str:
    """The part's type. vLLM takes some parts without a type; then one of their fields names it."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(kind, str):
        return kind
    fields = part if isinstance(part, Mapping) else ()
    return next((field for field in fields if field in _PLACEHOLDERS), "unknown")


def _transcript(message: Message) -> Any:
    audio = message.get("audio")
    return audio.get("transcript") if isinstance(audio, Mapping) else None
