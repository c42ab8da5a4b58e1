"""Text that holds a chat template's own tokens.

A prompt that was rendered already would be rendered a second time, inside a user's message: the
model then learns from a conversation that no server sends. A single special token inside a text
is rarer and may be meant, so it is only counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.preferences.records import Listwise, Pairwise, Preference

SPECIAL = "records with a chat template's tokens in their text"
_START = re.compile(
    r"\s*(?:<s>|<bos>|<BOS_TOKEN>|<\|begin_of_text\|>|<\uff5cbegin\u2581of\u2581sentence\uff5c>|\s)*"
    r"(?:<\|im_start\|>\s*(?:system|user|assistant)|<\|start_header_id\|>|<start_of_turn>|"
    r"<\|(?:system|user|assistant)\|>|\[INST\]|<<SYS>>|<\uff5cUser\uff5c>|"
    r"<\|START_OF_TURN_TOKEN\|>|<\|start\|>(?:system|developer|user)|<\|start_of_role\|>)"
)
"""How the renderings of ChatML, Llama, Gemma, Phi, Mistral, DeepSeek, Command R and the like
begin."""
_TOKEN = re.compile(
    r"<\|[A-Za-z_]{2,30}\|>|<\uff5c[A-Za-z\u2581]{2,40}\uff5c>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|"
    r"</?s>|<(?:bos|eos|pad)>"
)
"""Special tokens of such templates, anywhere in a text."""


def refuse_rendered(prompt: Sequence[Message]) -> None:
    """Raise BadLineError if a message begins as a rendered conversation does."""
    for message in prompt:
        if _START.match(message["content"]):
            raise BadLineError(
                "prompt: is rendered with a chat template already; give its messages, or set "
                "templated: true to train on it as it is"
            )


def has_special_tokens(preference: Preference) -> bool:
    return any(_TOKEN.search(message["content"]) for message in _messages(preference))


def _messages(preference: Preference) -> Iterator[Message]:
    yield from preference.prompt
    if isinstance(preference, Pairwise):
        yield from preference.chosen
        yield from preference.rejected
    elif isinstance(preference, Listwise):
        for candidate in preference.candidates:
            yield from candidate.answer
    else:
        yield from preference.answer
