"""Readers of preference data: every known format gives the same records, one at a time.

A format is a `FormatReader`. `detect` asks them in the order of the table, so a format that is a
special case of another comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from trainers.base.errors import DataError
from trainers.base.lines import MAX_LINE_BYTES, BadLineError, RawRecord, printable, read_rows
from trainers.preferences.readers.candidate_log import CandidateLogReader
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.hh import HhReader
from trainers.preferences.readers.lists import (
    CandidatesReader,
    LoggedReader,
    PointwiseReader,
    RankingReader,
    RewardBench2Reader,
    UltraFeedbackReader,
)
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.readers.pairs import (
    CanonicalReader,
    ImplicitPromptReader,
    RewardBenchReader,
    RewriteReader,
    SixStepsReader,
)
from trainers.preferences.records import Preference
from trainers.preferences.tally import Tally

FORMATS: Mapping[str, FormatReader] = MappingProxyType(
    {
        "candidate_log": CandidateLogReader(),
        "listwise": CandidatesReader(),
        "ultrafeedback": UltraFeedbackReader(),
        "rewardbench2": RewardBench2Reader(),
        "hh": HhReader(),
        "implicit": ImplicitPromptReader(),
        "rewardbench": RewardBenchReader(),
        "canonical": CanonicalReader(),
        "rewrite": RewriteReader(),
        "steps": SixStepsReader(),
        "pointwise": PointwiseReader(),
        "ranking": RankingReader(),
        "logged": LoggedReader(),
    }
)
AUTO = "auto"


def detect(values: Values) -> str | None:
    """The name of the first format that this record looks like."""
    return next((name for name, reader in FORMATS.items() if reader.matches(values)), None)


def read_preferences(
    path: Path,
    tally: Tally,
    *,
    format_name: str = AUTO,
    options: ReadOptions | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Preference]:
    """Every preference of a file, in order; what cannot be used is counted in `tally`.

    `format_name` is a key of `FORMATS`, or "auto": then the first readable record decides for the
    whole file. Raises DataError for a file that is missing, empty or of no known format, and at a
    bad line unless the tally skips them.
    """
    reader = None if format_name == AUTO else FORMATS[format_name]
    rows = 0
    for row in read_rows(path, max_line_bytes=max_line_bytes):
        rows += 1
        tally.lines += 1
        if row.values is None:
            tally.bad_line(row.where, row.reason)
            continue
        if reader is None:
            reader = _detected(row, row.values)
        try:
            # A list, so that a record is counted as good only once all of it was read.
            found = list(reader.read(row.values, tally, options or ReadOptions()))
        except BadLineError as error:
            tally.bad_line(row.where, str(error))
            continue
        tally.records += 1
        yield from found
    if not rows:
        raise DataError(f"{path}: the file has no records")


def _detected(row: RawRecord, values: Values) -> FormatReader:
    name = detect(values)
    if name is None:
        keys = ", ".join(sorted(printable(str(key)) for key in values)) or "none"
        raise DataError(
            f"{row.where}: no known format has these keys: {keys}; name one with format: "
            f"{', '.join(FORMATS)}"
        )
    return FORMATS[name]
