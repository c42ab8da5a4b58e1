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
from trainers.base.prompt_text import is_rendered
from trainers.preferences.records import Listwise, Pairwise, Preference

SPECIAL = "records with a chat template's tokens in their text"
_TOKEN = re.compile(
    r"<\|[A-Za-z_]{2,30}\|>|<\uff5c[A-Za-z\u2581]{2,40}\uff5c>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|"
    r"</?s>|<(?:bos|eos|pad)>"
)
"""Special tokens of such templates, anywhere in a text."""


def refuse_rendered(prompt: Sequence[Message]) -> None:
    """Raise BadLineError if a message begins as a rendered conversation does."""
    for message in prompt:
        if is_rendered(message["content"]):
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
