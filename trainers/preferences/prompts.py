"""Prompts to sample for: `{prompt}` lines, or any known format; only its prompts are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.base.data import Conversation, Message
from trainers.base.errors import DataError
from trainers.base.lines import BadLineError, NotTextError
from trainers.base.messages import is_empty, prompt_messages
from trainers.base.template_inputs import NO_INPUTS, TemplateInputs, read_inputs
from trainers.preferences.readers import (
    FORMATS,
    detect,
    fields,
    mapped_rows,
    require_storable,
)
from trainers.preferences.readers.context import refuse_media
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.readers.seen import Seen
from trainers.preferences.records import asked as asked_of
from trainers.preferences.tally import Tally
from trainers.preferences.templated import refuse_rendered
from trainers.preferences.usable import EMPTY_PROMPT

REPEATED = "the same prompt again"
NOT_TEXT = "prompt that is not only text"


@dataclass(frozen=True)
class PromptToSample:
    """A prompt to draw answers to."""

    asked: Conversation
    references: tuple[str, ...] = ()
    where: str = ""
    """`file:line`"""

    @property
    def key(self) -> str:
        return prompt_key(self.asked.messages, self.asked.inputs)


def prompt_key(messages: list[Message], inputs: TemplateInputs = NO_INPUTS) -> str:
    """A digest of exactly this prompt, by which a resumed run knows it."""
    return hashlib.sha256(Conversation(messages, inputs).key.encode()).hexdigest()[:32]


def distinct_prompts(
    paths: Sequence[Path], tally: Tally, options: ReadOptions | None = None
) -> list[PromptToSample]:
    """Every different prompt, in order; the prompt of an SFT conversation is all but its answer.

    Raises DataError as readers do; repeated and empty prompts are counted.
    """
    found: dict[str, PromptToSample] = {}
    for path in paths:
        for one in _of_file(path, tally, options or ReadOptions()):
            if is_empty(one.asked.messages):
                tally.drop(EMPTY_PROMPT)
            elif one.key in found:
                tally.drop(REPEATED)
            else:
                found[one.key] = one
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no prompts")
    return list(found.values())


def _of_file(path: Path, tally: Tally, options: ReadOptions) -> Iterator[PromptToSample]:
    for row in mapped_rows(path, tally, options):
        tally.lines += 1
        if row.values is None:
            tally.bad_line(row.where, row.reason)
            continue
        values = Seen(row.values)
        try:
            refuse_media(values)
            prompts = [
                PromptToSample(asked, fields.references(values), row.where)
                for asked in _prompts(values, tally, options)
            ]
        except NotTextError:
            tally.drop(NOT_TEXT)
            continue
        except BadLineError as error:
            tally.bad_line(row.where, str(error))
            continue
        tally.records += 1
        name = detect(row.values)
        harmless = frozenset() if name is None else FORMATS[name].harmless
        tally.not_read(path, values.unread() - harmless - options.ignore_fields)
        yield from prompts


def _prompts(values: Values, tally: Tally, options: ReadOptions) -> list[Conversation]:
    name = detect(values)
    messages = _own_prompt(values)
    if messages is not None:
        found = [Conversation(messages, *_beside(values, name, options))]
    elif name is None:
        raise BadLineError("prompt: missing")
    else:
        # Formats that hold the prompt inside other fields.
        found = [asked_of(one) for one in FORMATS[name].preferences(values, tally, options)]
    for asked in found:
        require_storable(asked.as_json())
        if not options.templated:
            refuse_rendered(asked.messages)
    return found


def _beside(
    values: Values, name: str | None, options: ReadOptions
) -> tuple[TemplateInputs, Mapping[str, Any]]:
    """What stands beside the prompt of a record of this format, or of none."""
    if name is None:
        return read_inputs(values), fields.metadata(values) if options.takes_metadata else {}
    return FORMATS[name].beside(values, options)


def _own_prompt(values: Values) -> list[Message] | None:
    """The prompt of a record that has a field for it."""
    for key in ("prompt", "instruction"):
        if key in values:
            return fields.prompt(values, key)
    if "messages" not in values:
        return None
    messages = fields.conversation(values, "messages")
    if messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    return prompt_messages(messages, "messages")
