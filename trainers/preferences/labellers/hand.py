"""People compare two answers, without knowing which policy wrote which.

They do so in the terminal, or on a sheet: a file that is written, filled in anywhere and read back.
A row's id says which answer was shown as A, so that reading undoes the blind order.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from bon_common.judging.conversation import conversation_text
from trainers.base.errors import DataError, SettingsError
from trainers.base.files import replaced
from trainers.base.lines import BadLineError, read_rows
from trainers.base.messages import shown_answer
from trainers.base.settings import Positive
from trainers.preferences.labellers.base import Block, LabelBlock, Labeller
from trainers.preferences.labels import Compare, Comparison, Label, Outcome, places, task_key
from trainers.preferences.records import Listwise
from trainers.preferences.steps import BETTER, margin_of_step

COLUMNS = ("id", "prompt", "answer_a", "answer_b", "preference", "rewrite")
SKIPPED = "left out by the labeller"
UNLABELLED = "not labelled yet"
STEPS = (*BETTER, *(step.replace("better", "worse") for step in reversed(BETTER)))
HOW_TO = (
    "fill in the column preference: how A compares with B, one of "
    f"{', '.join(STEPS)}; or a, b, tie, skip. A text under rewrite is preferred to both"
)


class HandLabeller(Labeller):
    """People, on a sheet or in the terminal, with the answers in a blind order."""

    type: Literal["hand"]
    sheet: Path | None = None
    """A `.tsv` or `.jsonl` file. The first run writes it; once it is filled in, the next run reads
    it. Without it the questions are asked in the terminal."""
    compare: Compare = "all"
    """Which answers of one prompt are shown side by side: every two, or each with the next."""
    budget: Positive | None = None
    """Most comparisons of one prompt's answers, drawn at random so that every answer takes part as
    far as it reaches. Six answers have 15 pairs; with five comparisons all of them still meet."""
    seed: int = 0
    """Decides which answer is shown first, as A."""

    @field_validator("sheet")
    @classmethod
    def _known_suffix(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in (".tsv", ".jsonl"):
            raise ValueError("a .tsv or .jsonl file is expected")
        return value

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[LabelBlock]:
        if not sys.stdin.isatty():
            raise SettingsError("labeller.sheet: needed, since there is no terminal to ask in")
        yield Terminal(self, margins, show, sys.stdin.readline).label

    def pairs(self, task: Listwise) -> list[BlindPair]:
        """The pairs of a record that people compare, with A and B in a blind order."""
        found = []
        for i, j in places(task, self.compare, self.budget):
            digest = hashlib.sha256(f"{self.seed}\n{task_key(task)}\n{i}\n{j}".encode()).digest()
            found.append(BlindPair(task, j, i) if digest[0] % 2 else BlindPair(task, i, j))
        return found


@dataclass(frozen=True)
class BlindPair:
    """Two answers side by side; `a` and `b` are their places in the record."""

    task: Listwise
    a: int
    b: int

    @property
    def id(self) -> str:
        return f"{task_key(self.task)}-{self.a}-{self.b}"

    def row(self) -> dict[str, str]:
        texts = [shown_answer(self.task.candidates[place].answer) for place in (self.a, self.b)]
        prompt = conversation_text(self.task.prompt, self.task.inputs.tools)
        return dict(zip(COLUMNS, (self.id, prompt, *texts, "", ""), strict=True))

    def label(self, preference: str, rewrite: str, margins: Mapping[str, float]) -> Label:
        """The label from a person's words; BadLineError for a preference that means nothing."""
        word = preference.strip().lower()
        rewrites = dict.fromkeys((self.a, self.b), rewrite) if rewrite.strip() else {}
        if word == "skip":
            return Label(rewrites=rewrites, dropped={SKIPPED: 1})
        if not word:
            return Label(rewrites=rewrites, dropped={} if rewrites else {UNLABELLED: 1})
        value = {"a": 1.0, "b": -1.0}.get(word) or margin_of_step(word, margins)
        outcome: Outcome = "tie" if value == 0 else "first" if value > 0 else "second"
        margin = None if word in ("a", "b") else abs(value) or None
        comparison = Comparison(self.a, self.b, outcome, margin)
        return Label(comparisons=(comparison,), rewrites=rewrites)


def joined(labels: Sequence[Label]) -> Label:
    """One label from those of a record's pairs."""
    dropped = Counter[str]()
    rewrites: dict[int, str] = {}
    for label in labels:
        rewrites |= label.rewrites
        dropped.update(label.dropped)
    comparisons = tuple(one for label in labels for one in label.comparisons)
    return Label(comparisons=comparisons, rewrites=rewrites, dropped=dropped)


def write_sheet(path: Path, tasks: Sequence[Listwise], labeller: HandLabeller) -> int:
    """Write a row for each pair; returns their number. DataError if it cannot be written."""
    rows = [pair.row() for task in tasks for pair in labeller.pairs(task)]
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
) -> dict[str, Label]:
    """The labels by record; records without a row have none.

    Raises DataError with file, line and reason for a row whose id is unknown or is there twice, or
    whose preference means nothing.
    """
    known = {task_key(task): task for task in tasks}
    found: dict[str, dict[str, Label]] = {}
    for where, row in _sheet_rows(path):
        try:
            pair = _pair(row.get("id") or "", known)
            labels = found.setdefault(task_key(pair.task), {})
            if pair.id in labels:
                raise BadLineError("id: is there twice")
            labels[pair.id] = pair.label(
                row.get("preference") or "", row.get("rewrite") or "", margins
            )
        except BadLineError as error:
            raise DataError(f"{where}: {error}") from error
    return {key: joined(list(labels.values())) for key, labels in found.items()}


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


def _pair(name: str, known: Mapping[str, Listwise]) -> BlindPair:
    key, _, order = name.partition("-")
    a, _, b = order.partition("-")
    count = len(known[key].candidates) if key in known else 0
    sound = a.isdecimal() and b.isdecimal() and int(a) != int(b)
    if not sound or max(int(a), int(b)) >= count:
        raise BadLineError(f"id: no such answers in the input: {name[:80]!r}")
    return BlindPair(known[key], int(a), int(b))


@dataclass(frozen=True)
class Terminal:
    """Asks about one pair after the other; q stops, and the next run goes on there."""

    labeller: HandLabeller
    margins: Mapping[str, float]
    show: Callable[[str], None]
    """Prints a line."""
    answer: Callable[[], str]
    """Reads a line; "" at the end of the input."""

    async def label(self, tasks: Block) -> list[Label]:
        """Raises KeyboardInterrupt if the user stops."""
        return [joined([self._ask(pair) for pair in self.labeller.pairs(task)]) for task in tasks]

    def _ask(self, pair: BlindPair) -> Label:
        row = pair.row()
        self.show(f"\n{row['prompt']}\n\n[A] {row['answer_a']}\n\n[B] {row['answer_b']}\n")
        menu = ", ".join(f"{number} {step}" for number, step in enumerate(STEPS, start=1))
        words = {str(number): step for number, step in enumerate(STEPS, start=1)}
        words |= {"t": "tie", "s": "skip"}
        while True:
            self.show(f"A compared with B: {menu}; t tie, s skip, w write a better one, q stop")
            said = self.answer()
            word = said.strip().lower()
            if not said or word == "q":
                raise KeyboardInterrupt
            rewrite = ""
            if word == "w":
                self.show("the better answer, in one line:")
                word, rewrite = "", self.answer().strip()
            try:
                if word or rewrite:
                    return pair.label(words.get(word, word), rewrite, self.margins)
            except BadLineError as error:
                self.show(str(error))
