"""Texts that are given as prompts and are more than one person's words; columns that belong to a
prompt and stand beside it."""

from __future__ import annotations

import re
from typing import Any

SYSTEM_KEYS = ("system", "system_prompt")
HISTORY = "history"
MEDIA_KEYS = (
    *("image", "images", "image_path", "image_url", "image_urls"),
    *("video", "videos", "audio", "audios"),
)
"""Columns that are part of the prompt too, and that nothing here can learn from."""
TURN = re.compile(r"\n\n(Human|Assistant):")
_TRANSCRIPT = re.compile(r"\s*Human:.*\n\nAssistant:", re.DOTALL)
_RENDERED = re.compile(
    r"\s*(?:<s>|<bos>|<BOS_TOKEN>|<\|begin_of_text\|>|<\uff5cbegin\u2581of\u2581sentence\uff5c>|\s)*"
    r"(?:<\|im_start\|>\s*(?:system|user|assistant)|<\|start_header_id\|>|<start_of_turn>|"
    r"<\|(?:system|user|assistant)\|>|\[INST\]|<<SYS>>|<\uff5cUser\uff5c>|"
    r"<\|START_OF_TURN_TOKEN\|>|<\|start\|>(?:system|developer|user)|<\|start_of_role\|>)"
)
"""How the renderings of ChatML, Llama, Gemma, Phi, Mistral, DeepSeek, Command R and the like
begin."""


def is_transcript(value: Any) -> bool:
    """Whether a prompt is a transcript: it begins with the human's turn and goes on as one does.

    A text that only begins with "Human:" may be a person's own words.
    """
    return isinstance(value, str) and (
        TURN.match(value) is not None or _TRANSCRIPT.match(value) is not None
    )


def is_rendered(text: str) -> bool:
    """Whether a text begins as a conversation does that a chat template has rendered."""
    return _RENDERED.match(text) is not None


def messages_of(value: object) -> object:
    """A text as the user's message, anything else as it is; ValueError for a text of several
    turns, which begins behind the field's name."""
    if not isinstance(value, str):
        return value
    if is_rendered(value):
        raise ValueError(": is rendered with a chat template already; give its messages")
    if is_transcript(value):
        raise ValueError(": a transcript of several turns; bon-train prepare reads it")
    return [{"role": "user", "content": value}]
