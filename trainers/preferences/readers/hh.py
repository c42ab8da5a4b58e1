"""Transcripts of HH-RLHF (Bai et al. 2022, arXiv:2204.05862): two texts that begin alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.readers.pairs import split_prompt
from trainers.preferences.records import Pairwise
from trainers.preferences.tally import Tally

TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_transcript(transcript: str, name: str) -> list[Message]:
    """The turns, stripped; consecutive turns of one speaker are joined.

    Raises BadLineError if the text does not begin with the human's turn.
    """
    before, *parts = TURN.split(transcript)
    if before.strip() or not parts or parts[0] != "Human":
        raise BadLineError(f"{name}: a transcript begins with a blank line and 'Human:'")
    messages: list[Message] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = ROLES[speaker], said.strip()
        if messages and messages[-1]["role"] == role:
            # Chat templates want the roles to alternate.
            content = "\n\n".join(filter(None, (messages.pop()["content"], content)))
        messages.append(Message(role=role, content=content))
    return messages


class HhReader(FormatReader):
    """chosen and rejected are transcripts of Human: and Assistant: turns."""

    def matches(self, values: Values) -> bool:
        return all(
            isinstance(values.get(key), str) and TURN.match(values[key]) is not None
            for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        yield from split_prompt(
            parse_transcript(fields.text(values, "chosen"), "chosen"),
            parse_transcript(fields.text(values, "rejected"), "rejected"),
            tally,
        )
