"""Transcripts of HH-RLHF (Bai et al. 2022, arXiv:2204.05862): two texts that begin alike."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.base.prompt_text import TURN
from trainers.preferences.readers import fields
from trainers.preferences.readers.context import with_context
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.gap import by_gap
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.readers.pairs import split_prompt
from trainers.preferences.readers.transcript import parse_transcript
from trainers.preferences.records import Pairwise
from trainers.preferences.tally import Tally

JOINED = "transcripts with turns of one speaker in a row, joined"


class HhReader(FormatReader):
    """chosen and rejected are transcripts of Human: and Assistant: turns."""

    def matches(self, values: Values) -> bool:
        return all(
            isinstance(values.get(key), str) and TURN.match(values[key]) is not None
            for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        texts = [fields.text(values, key) for key in ("chosen", "rejected")]
        turns = [
            parse_transcript(text, key)
            for text, key in zip(texts, ("chosen", "rejected"), strict=True)
        ]
        if any(
            len(TURN.findall(text)) > len(messages)
            for text, messages in zip(texts, turns, strict=True)
        ):
            tally.note(JOINED)
        chosen, rejected = (with_context(values, messages) for messages in turns)
        yield from by_gap(values, split_prompt(chosen, rejected, tally), tally)
