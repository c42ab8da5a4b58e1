"""Train or held out, decided by the prompt alone.

A prompt in both files would measure what was learnt by heart. A hash of the prompt decides its
side, which depends neither on the other records nor on their order: records that are appended later
move nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from trainers.base.data import Message
from trainers.base.template_inputs import NO_INPUTS, TemplateInputs

Side = Literal["train", "held-out"]
SplitBy = Literal["prompt", "first_turn"]


def side_of(
    prompt: Sequence[Message],
    *,
    seed: int,
    held_out_share: float,
    by: SplitBy = "prompt",
    inputs: TemplateInputs = NO_INPUTS,
) -> Side:
    """The side of all records with this prompt; `held_out_share` is the expected share of prompts.

    Prompts that differ only in capitals, spaces and punctuation are one prompt. By "first_turn",
    so are all conversations that open with the same system and user messages, such as the turns of
    a dialogue that were logged one by one.
    """
    digest = hashlib.sha256(f"{seed}\n{normalised(prompt, by, inputs)}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "held-out" if position < held_out_share else "train"


def normalised(
    prompt: Sequence[Message], by: SplitBy = "prompt", inputs: TemplateInputs = NO_INPUTS
) -> str:
    """A text that is equal for prompts that count as the same."""
    messages = _opening(prompt) if by == "first_turn" else prompt
    # Tool calls count as they stand: a prompt with other calls is another prompt.
    turns: list[object] = [
        [message["role"], _words(message["content"]), *_calls(message)] for message in messages
    ]
    # So do tools; but a dialogue may be given others from turn to turn.
    beside = inputs.as_json() if by == "prompt" else {}
    return json.dumps([*turns, beside] if beside else turns, sort_keys=True)


def _opening(prompt: Sequence[Message]) -> Sequence[Message]:
    first = next((i for i, m in enumerate(prompt) if m["role"] == "user"), len(prompt) - 1)
    return prompt[: first + 1]


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _calls(message: Message) -> list[str]:
    calls = message.get("tool_calls")
    return [json.dumps(calls, sort_keys=True)] if calls else []
