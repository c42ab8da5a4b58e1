"""Records that cannot be used: the first stops the run, or all are counted and left out. Fields of
sound records that are not read are counted too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from trainers.base.errors import DataError

SHOWN = 5
"""Skipped lines that the terminal shows; the others are only counted."""
SKIPPED = "bad lines skipped"
UNREAD = "records with a field that is not read"
MOST_FIELDS = 20
"""Fields that are named; of the others only the number is given."""


class BadLines:
    """The bad lines of one run's data."""

    def __init__(self, *, skip: bool = False) -> None:
        """With `skip` they are counted, otherwise the first one's DataError goes on."""
        self.skip = skip
        self.count = 0
        self._first: list[str] = []
        self._unread: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Read one record within this; a DataError is about that record."""
        try:
            yield
        except DataError as error:
            if not self.skip:
                raise
            self.count += 1
            if len(self._first) < SHOWN:
                self._first.append(str(error))

    def not_read(self, names: Iterable[str]) -> None:
        """Count the fields of one record that hold something and are not read."""
        self._unread.update(names)

    def note(self, what: str, count: int) -> None:
        """Count sound records that the user should know about."""
        self._noted[what] += count

    def figures(self) -> dict[str, int]:
        """For the terminal and the model card; nothing where nothing was left out."""
        unread = {f"{UNREAD}: {name}": n for name, n in self._unread.most_common(MOST_FIELDS)}
        further = len(self._unread) - len(unread)
        return {
            **({SKIPPED: self.count} if self.count else {}),
            **unread,
            **({f"{UNREAD}: further fields": further} if further else {}),
            **{what: count for what, count in self._noted.items() if count},
        }

    def report(self, show: Callable[[str], None]) -> None:
        """Say how many lines were skipped, and why the first ones were."""
        if self.count:
            show(f"{SKIPPED}: {self.count}")
        for reason in self._first:
            show(f"  {reason}")
