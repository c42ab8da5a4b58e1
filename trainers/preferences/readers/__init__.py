"""Readers of preference data: every known format gives the same records, one at a time.

A format is a `FormatReader`. `detect` asks them in the order of the table, so a format that is a
special case of another comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainers.base.errors import DataError
from trainers.base.lines import MAX_LINE_BYTES, BadLineError, printable, read_rows
from trainers.base.raw import RawRecord
from trainers.base.strict_json import unstorable
from trainers.preferences.readers.annotation import ArgillaReader, LabelStudioReader
from trainers.preferences.readers.arenas import ArenaReader, ArenaTableReader
from trainers.preferences.readers.candidate_log import CandidateLogReader
from trainers.preferences.readers.context import refuse_media
from trainers.preferences.readers.conversations import OpenAIPreferenceReader, ShareGptReader
from trainers.preferences.readers.feedback import StepwiseReader, ThumbsReader
from trainers.preferences.readers.fields import Values, prompt_key
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
from trainers.preferences.readers.published import (
    DistilabelReader,
    HelpSteer2Reader,
    HelpSteer3Reader,
    LlmBarReader,
    NectarReader,
    SafeRlhfReader,
)
from trainers.preferences.readers.seen import Seen
from trainers.preferences.records import Preference
from trainers.preferences.tally import Tally
from trainers.preferences.templated import SPECIAL, has_special_tokens, refuse_rendered

FORMATS: Mapping[str, FormatReader] = MappingProxyType(
    {
        "candidate_log": CandidateLogReader(),
        "listwise": CandidatesReader(),
        "ultrafeedback": UltraFeedbackReader(),
        "rewardbench2": RewardBench2Reader(),
        "openai_preference": OpenAIPreferenceReader(),
        "sharegpt": ShareGptReader(),
        "argilla": ArgillaReader(),
        "label_studio": LabelStudioReader(),
        "distilabel": DistilabelReader(),
        "hh": HhReader(),
        "implicit": ImplicitPromptReader(),
        "rewardbench": RewardBenchReader(),
        "canonical": CanonicalReader(),
        "rewrite": RewriteReader(),
        "steps": SixStepsReader(),
        "arena": ArenaReader(),
        "arena_table": ArenaTableReader(),
        "helpsteer2": HelpSteer2Reader(),
        "helpsteer3": HelpSteer3Reader(),
        "pku_saferlhf": SafeRlhfReader(),
        "llmbar": LlmBarReader(),
        "nectar": NectarReader(),
        "pointwise": PointwiseReader(),
        "ranking": RankingReader(),
        "stepwise": StepwiseReader(),
        "thumbs": ThumbsReader(),
        "logged": LoggedReader(),
    }
)
AUTO = "auto"
UNLABELLED = "logged"


LOOK_AHEAD = 64
"""Records that are looked at before a format is chosen."""


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

    `format_name` is a key of `FORMATS`, or "auto": then the first records decide for the whole
    file. Raises DataError for a file that is missing, empty or of no known format, and at a bad
    line unless the tally skips them.
    """
    options = options or ReadOptions()
    rows = mapped_rows(path, tally, options, max_line_bytes)
    first = list(islice(rows, LOOK_AHEAD))
    if not first:
        raise DataError(f"{path}: the file has no records")
    is_auto = format_name == AUTO
    name = _chosen(first) if is_auto else format_name
    for row in chain(first, rows):
        tally.lines += 1
        if row.values is None:
            tally.bad_line(row.where, row.reason)
            continue
        assert name is not None  # _chosen had a record to choose by, or there is none
        seen = Seen(row.values)
        try:
            # A list, so that a record is counted as good only once all of it was read.
            found = _read(FORMATS[name], seen, tally, options)
            if is_auto:
                _refuse_another(row.values, name)
        except BadLineError as error:
            tally.bad_line(row.where, str(error))
            continue
        tally.records += 1
        if found:
            tally.not_read(path, seen.unread() - FORMATS[name].harmless - options.ignore_fields)
        yield from found


def mapped_rows(
    path: Path, tally: Tally, options: ReadOptions, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[RawRecord]:
    """The rows of a file, with fields under the names that the formats know."""
    for row in read_rows(path, max_line_bytes=max_line_bytes):
        values = None if row.values is None else options.fields.apply(row.values, tally)
        yield replace(row, values=values)


def _read(
    reader: FormatReader, values: Values, tally: Tally, options: ReadOptions
) -> list[Preference]:
    refuse_media(values)
    found = reader.preferences(values, tally, options)
    for preference in found:
        require_storable(preference.as_json())
        if not options.templated:
            refuse_rendered(preference.prompt)
    tally.note(SPECIAL, any(has_special_tokens(one) for one in found))
    return found


def require_storable(line: Mapping[str, Any]) -> None:
    """Raise BadLineError, naming the field, for a line that no file could hold."""
    if unstorable(line) is not None:
        for name, value in line.items():
            reason = unstorable(value)
            if reason is not None:
                raise BadLineError(f"{name}: {reason}")


def _chosen(rows: Sequence[RawRecord]) -> str | None:
    """The format of the first records: that of the first one which has labels, if one has.

    An answer without its label looks like a logged answer. As a member of a labelled file it is a
    bad line, not the file's format. None if no line can be read.
    """
    readable = [(row, row.values) for row in rows if row.values is not None]
    if not readable:
        return None
    names = [name for _, values in readable if (name := detect(values)) is not None]
    if not names:
        raise _unknown(*readable[0])
    return next((name for name in names if name != UNLABELLED), UNLABELLED)


def _refuse_another(values: Values, name: str) -> None:
    """Raise BadLineError for a record that a reader took, and that looks like another format."""
    other = detect(values)
    if other is None:
        return
    kinds = (type(FORMATS[name]), type(FORMATS[other]))
    # One may be a special case of the other, as RewardBench is of the canonical form.
    if not issubclass(*kinds) and not issubclass(*reversed(kinds)):
        raise BadLineError(
            f"looks like the format {other}, and the file like {name}; part the files, or name "
            "one with format"
        )


def _unknown(row: RawRecord, values: Values) -> DataError:
    if prompt_key(values) in values and len(values) == 1:
        return DataError(f"{row.where}: prompts without answers; bon-train collect draws them")
    keys = ", ".join(sorted(printable(str(key)) for key in values)) or "none"
    return DataError(
        f"{row.where}: no known format has these keys: {keys}; say with fields where its own are, "
        "such as fields={prompt: KEY, chosen: KEY, rejected: KEY}, or name one with format: "
        f"{', '.join(FORMATS)}"
    )
