"""People compare two answers, without knowing which policy wrote which.

Either on a sheet, a file that is written, filled in anywhere and read back, or in the terminal.
A row's id says which answer was shown as A, so that the blind order is undone on reading.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from bon_common.judging import conversation_text
from trainers.base.errors import DataError, SettingsError
from trainers.base.files import replaced
from trainers.base.lines import BadLineError, read_rows
from trainers.base.messages import text_of
from trainers.preferences.labellers.protocol import Block, Labeller, LabellerSettings
from trainers.preferences.records import Listwise
from trainers.preferences.steps import margin_of_step
from trainers.preferences.verdicts import Compare, Comparison, Verdict, places, task_key

COLUMNS = ("id", "prompt", "answer_a", "answer_b", "preference", "rewrite")
SKIPPED = "left out by the labeller"
UNLABELLED = "not labelled yet"
STEPS = (
    "significantly better",
    "better",
    "slightly better",
    "slightly worse",
    "worse",
    "significantly worse",
)
HOW_TO = (
    "fill in the column preference: how A compares with B, one of "
    f"{', '.join(STEPS)}; or a, b, tie, skip. A text under rewrite is preferred to both"
)


class HandSettings(LabellerSettings):
    """People, on a sheet or in the terminal, with the answers in a blind order."""

    type: Literal["hand"]
    sheet: Path | None = None
    """A `.tsv` or `.jsonl` file: written by the first run, read back once it is filled in.
    Without it, and with a terminal, the questions are asked there."""
    compare: Compare = "all"
    """Which answers of one prompt are shown against each other."""
    seed: int = 0
    """Decides which answer is shown first."""

    @field_validator("sheet")
    @classmethod
    def _known_suffix(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in (".tsv", ".jsonl"):
            raise ValueError("a .tsv or .jsonl file is expected")
        return value

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        if not sys.stdin.isatty():
            raise SettingsError("labeller.sheet: needed, since there is no terminal to ask in")
        yield TerminalLabeller(self, margins, show=show, answer=sys.stdin.readline)


@dataclass(frozen=True)
class Question:
    """Two answers side by side; `a` and `b` are their places in the record."""

    task: Listwise
    a: int
    b: int

    @property
    def id(self) -> str:
        return f"{task_key(self.task)}-{self.a}-{self.b}"

    def row(self) -> dict[str, str]:
        texts = [text_of(self.task.candidates[place].answer) for place in (self.a, self.b)]
        prompt = conversation_text(self.task.prompt)
        return dict(zip(COLUMNS, (self.id, prompt, *texts, "", ""), strict=True))


def questions(task: Listwise, compare: Compare, seed: int) -> list[Question]:
    """What is asked about a record, with A and B in a blind order."""
    found = []
    for i, j in places(len(task.candidates), compare):
        digest = hashlib.sha256(f"{seed}\n{task_key(task)}\n{i}\n{j}".encode()).digest()
        found.append(Question(task, j, i) if digest[0] % 2 else Question(task, i, j))
    return found


def verdict_of(
    question: Question, preference: str, rewrite: str, margins: Mapping[str, float]
) -> Verdict:
    """What a person said about a question. Raises BadLineError for words that mean nothing."""
    word = preference.strip().lower()
    rewrites = dict.fromkeys((question.a, question.b), rewrite) if rewrite.strip() else {}
    if word == "skip":
        return Verdict(rewrites=rewrites, dropped={SKIPPED: 1})
    if not word:
        return Verdict(rewrites=rewrites, dropped={} if rewrites else {UNLABELLED: 1})
    margin = None
    if word in ("a", "b"):
        outcome = "first" if word == "a" else "second"
    else:
        value = margin_of_step(word, margins)
        outcome = "tie" if value == 0 else "first" if value > 0 else "second"
        margin = abs(value) or None
    comparison = Comparison(question.a, question.b, outcome, margin)  # type: ignore[arg-type]
    return Verdict(comparisons=(comparison,), rewrites=rewrites)


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict out of those on a record's questions."""
    dropped: dict[str, int] = {}
    rewrites: dict[int, str] = {}
    for verdict in verdicts:
        rewrites |= verdict.rewrites
        for reason, count in verdict.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    comparisons = tuple(one for verdict in verdicts for one in verdict.comparisons)
    return Verdict(comparisons=comparisons, rewrites=rewrites, dropped=dropped)


def write_sheet(path: Path, tasks: Sequence[Listwise], settings: HandSettings) -> int:
    """Write a row for each question; returns their number. DataError if it cannot be written."""
    rows = [
        question.row()
        for task in tasks
        for question in questions(task, settings.compare, settings.seed)
    ]
    with replaced(path) as out:
        if path.suffix == ".jsonl":
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(out, COLUMNS, dialect="excel-tab", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return len(rows)


def read_sheet(
    path: Path, tasks: Sequence[Listwise], margins: Mapping[str, float]
) -> dict[str, Verdict]:
    """The verdicts by record; records without a row have none.

    Raises DataError with file, line and reason for a row whose id is unknown or stands there
    twice, or whose preference means nothing.
    """
    known = {task_key(task): task for task in tasks}
    found: dict[str, list[Verdict]] = {}
    seen: set[str] = set()
    for where, row in _sheet_rows(path):
        try:
            question = _question(row.get("id") or "", known)
            if question.id in seen:
                raise BadLineError("id: stands there twice")
            seen.add(question.id)
            verdict = verdict_of(
                question, row.get("preference") or "", row.get("rewrite") or "", margins
            )
        except BadLineError as error:
            raise DataError(f"{where}: {error}") from error
        found.setdefault(task_key(question.task), []).append(verdict)
    return {key: joined(verdicts) for key, verdicts in found.items()}


def _sheet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    if path.suffix == ".jsonl":
        for row in read_rows(path):
            if row.values is None:
                raise DataError(f"{row.where}: {row.reason}")
            yield row.where, {key: str(value) for key, value in row.values.items()}
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, dialect="excel-tab")
            missing = [
                name for name in ("id", "preference") if name not in (reader.fieldnames or ())
            ]
            if missing:
                raise DataError(f"{path}:1: no column {missing[0]}")
            for values in reader:
                yield f"{path}:{reader.line_num}", values
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no tab-separated UTF-8 text: {error}") from error


def _question(name: str, known: Mapping[str, Listwise]) -> Question:
    key, _, order = name.partition("-")
    a, _, b = order.partition("-")
    task = known.get(key)
    if task is None or not (a.isdecimal() and b.isdecimal()):
        raise BadLineError(f"id: no such answers in the input: {name[:80]!r}")
    question = Question(task, int(a), int(b))
    if question.a == question.b or max(question.a, question.b) >= len(task.candidates):
        raise BadLineError(f"id: no such answers in the input: {name[:80]!r}")
    return question


class TerminalLabeller:
    """Asks one question after the other; q stops, and the next run goes on there."""

    block = 1
    concurrency = 1

    def __init__(
        self,
        settings: HandSettings,
        margins: Mapping[str, float],
        *,
        show: Callable[[str], None],
        answer: Callable[[], str],
    ) -> None:
        """`show` and `answer` are the terminal: a line out, a line in ("" at its end)."""
        self._settings = settings
        self._margins = margins
        self._show = show
        self._answer = answer

    async def label(self, tasks: Block) -> list[Verdict]:
        """Raises KeyboardInterrupt when the labeller has had enough."""
        return [
            joined(
                [
                    self._ask(question)
                    for question in questions(task, self._settings.compare, self._settings.seed)
                ]
            )
            for task in tasks
        ]

    def _ask(self, question: Question) -> Verdict:
        row = question.row()
        self._show(f"\n{row['prompt']}\n\n[A] {row['answer_a']}\n\n[B] {row['answer_b']}\n")
        menu = ", ".join(f"{number} {step}" for number, step in enumerate(STEPS, start=1))
        while True:
            self._show(f"A compared with B: {menu}; t tie, s skip, w write a better one, q stop")
            said = self._answer()
            word = said.strip().lower()
            if not said or word == "q":
                raise KeyboardInterrupt
            if word == "w":
                self._show("the better answer, in one line:")
                rewrite = self._answer().strip()
                if rewrite:
                    return verdict_of(question, "", rewrite, self._margins)
                continue
            if word.isdecimal() and 1 <= int(word) <= len(STEPS):
                word = STEPS[int(word) - 1]
            word = {"t": "tie", "s": "skip"}.get(word, word)
            try:
                if word:
                    return verdict_of(question, word, "", self._margins)
            except BadLineError as error:
                self._show(str(error))
