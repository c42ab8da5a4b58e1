"""Counts of what was dropped and why, so that nothing disappears silently.

A *drop* is a sound record that cannot be used (a tie, an empty answer). A *bad line* cannot be
read: it stops the run with its file, line and reason unless the settings say to skip it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainers.base.errors import DataError

MAX_EXAMPLES = 20
"""Bad lines that the report shows; the others are only counted."""
MAX_FIELDS = 20
"""Fields that were not read, on the terminal; the report has all."""


class Tally:
    """Counts of one run. `skip_bad` decides whether a bad line stops it."""

    def __init__(self, *, skip_bad: bool = False) -> None:
        self._skip_bad = skip_bad
        self.lines = 0
        """Lines read, blank ones not counted."""
        self.records = 0
        """Lines that could be read."""
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        """Worth knowing, but not dropped."""
        self.bad = 0
        self.bad_lines: list[str] = []
        """The first bad lines, as `file:line: reason`."""
        self.unread: dict[Path, Counter[str]] = {}
        """For each file, the fields that held something and were not read, with their records."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count `count` records (answers, pairs) that cannot be used."""
        if count:
            self.dropped[reason] += count

    def note(self, what: str, count: int = 1) -> None:
        """Count what is worth knowing, and was not dropped."""
        if count:
            self.noted[what] += count

    def not_read(self, path: Path, names: Iterable[str]) -> None:
        """Count the fields of one record that hold something and were not read."""
        for name in names:
            self.unread.setdefault(path, Counter())[name] += 1

    def bad_line(self, where: str, reason: str) -> None:
        """Count a bad line. Raises DataError unless bad lines are skipped."""
        message = f"{where}: {reason}"
        if not self._skip_bad:
            raise DataError(message)
        self.bad += 1
        if len(self.bad_lines) < MAX_EXAMPLES:
            self.bad_lines.append(message)

    def reasons(self) -> str:
        """Why nothing is left: what was dropped, the first bad line, and fields that may have held
        what was missed."""
        bad = f"{self.bad} bad line(s), the first: {self.bad_lines[0]}" if self.bad else ""
        dropped = [f"{count} {reason}" for reason, count in self.dropped.most_common()]
        unread = [f"not read: {name}" for name in sorted(set().union(*self.unread.values()))]
        return "; ".join(filter(None, (bad, *dropped, *unread[:MAX_FIELDS])))

    def as_json(self) -> dict[str, Any]:
        """The part of a report that says how the input was used."""
        return {
            "lines": self.lines,
            "records": self.records,
            "bad_lines": self.bad,
            "bad_line_examples": self.bad_lines,
            "dropped": dict(sorted(self.dropped.items())),
            "noted": dict(sorted(self.noted.items())),
            "fields_not_read": {
                name: dict(self.unread[path].most_common())
                for path, name in short_names(self.unread).items()
            },
        }

    def figures(self) -> dict[str, int]:
        """The same for the terminal, one figure for each reason."""
        dropped = {f"dropped: {reason}": n for reason, n in sorted(self.dropped.items())}
        bad = {"bad lines skipped": self.bad} if self.bad else {}
        noted = dict(sorted(self.noted.items()))
        return {"lines read": self.lines, **bad, **dropped, **noted, **self._unread_figures()}

    def _unread_figures(self) -> dict[str, int]:
        """One figure for each field of a file, or of all files that share it."""
        totals: Counter[str] = Counter()
        holders: dict[str, list[Path]] = {}
        for path, counts in self.unread.items():
            totals.update(counts)
            for name in counts:
                holders.setdefault(name, []).append(path)
        figures = {}
        for name, count in totals.most_common(MAX_FIELDS):
            files = holders[name]
            where = files[0].name if len(files) == 1 else f"{len(files)} files"
            figures[f"not read: {name} (in {where})"] = count
        further = len(totals) - len(figures)
        return figures | ({"further fields not read, see the report": further} if further else {})


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """What to call each file in a report: its name, or its path if two have one name."""
    found = list(paths)
    counts = Counter(path.name for path in found)
    return {path: path.name if counts[path.name] == 1 else str(path) for path in found}
