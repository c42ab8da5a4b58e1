"""Records that cannot be used: the first stops the run, or all are counted and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainers.base.errors import DataError

SHOWN = 5
"""Skipped lines that the terminal shows; the others are only counted."""
SKIPPED = "bad lines skipped"


class BadLines:
    """The bad lines of one run's data."""

    def __init__(self, *, skip: bool = False) -> None:
        """With `skip` they are counted, otherwise the first one's DataError goes on."""
        self._skip = skip
        self.count = 0
        self._first: list[str] = []

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Read one record within this; a DataError is about that record."""
        try:
            yield
        except DataError as error:
            if not self._skip:
                raise
            self.count += 1
            if len(self._first) < SHOWN:
                self._first.append(str(error))

    def figures(self) -> dict[str, int]:
        """For the terminal and the model card; nothing where no line was skipped."""
        return {SKIPPED: self.count} if self.count else {}

    def report(self, show: Callable[[str], None]) -> None:
        """Say how many lines were skipped, and why the first ones were."""
        if self.count:
            show(f"{SKIPPED}: {self.count}")
        for reason in self._first:
            show(f"  {reason}")
