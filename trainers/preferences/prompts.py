"""Prompts to sample for: `{prompt}` lines, or any known format; only its prompts are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.base.data import Message
from trainers.base.errors import DataError
from trainers.base.lines import BadLineError, NotTextError, read_rows
from trainers.base.messages import chat_messages, is_empty, prompt_messages
from trainers.preferences.readers import FORMATS, detect
from trainers.preferences.readers.fields import Values, references
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.tally import Tally
from trainers.preferences.usable import EMPTY_PROMPT

REPEATED = "the same prompt again"
NOT_TEXT = "prompt that is not only text"


@dataclass(frozen=True)
class PromptToSample:
    """A prompt to draw answers to."""

    messages: list[Message]
    references: tuple[str, ...] = ()
    where: str = ""
    """`file:line`"""

    @property
    def key(self) -> str:
        return prompt_key(self.messages)


def prompt_key(messages: Sequence[Message]) -> str:
    """A digest of exactly these messages, by which a resumed run knows the prompt."""
    text = json.dumps(messages, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def distinct_prompts(paths: Sequence[Path], tally: Tally) -> list[PromptToSample]:
    """Every different prompt, in order; the prompt of an SFT conversation is all but its answer.

    Raises DataError as readers do; repeated and empty prompts are counted.
    """
    found: dict[str, PromptToSample] = {}
    for path in paths:
        for prompt in _of_file(path, tally):
            if is_empty(prompt.messages):
                tally.drop(EMPTY_PROMPT)
            elif prompt.key in found:
                tally.drop(REPEATED)
            else:
                found[prompt.key] = prompt
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no prompts")
    return list(found.values())


def _of_file(path: Path, tally: Tally) -> Iterator[PromptToSample]:
    for row in read_rows(path):
        tally.lines += 1
        if row.values is None:
            tally.bad_line(row.where, row.reason)
            continue
        try:
            prompts = [
                PromptToSample(prompt, references(row.values), row.where)
                for prompt in _prompts(row.values, tally)
            ]
        except NotTextError:
            tally.drop(NOT_TEXT)
            continue
        except BadLineError as error:
            tally.bad_line(row.where, str(error))
            continue
        tally.records += 1
        yield from prompts


def _prompts(values: Values, tally: Tally) -> list[list[Message]]:
    for key in ("prompt", "instruction"):
        if key in values:
            return [prompt_messages(values[key], key)]
    if "messages" in values:
        messages = chat_messages(values["messages"], "messages")
        if messages[-1]["role"] == "assistant":
            messages = messages[:-1]
        return [prompt_messages(messages, "messages")]
    # Formats that hold the prompt inside other fields.
    name = detect(values)
    if name is None:
        raise BadLineError("prompt: missing")
    return [found.prompt for found in FORMATS[name].read(values, tally, ReadOptions())]
