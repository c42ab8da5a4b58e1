"""A progress line on a terminal: how far, how fast, and how much time is left."""

from __future__ import annotations

import time
from typing import TextIO

EVERY_S = 0.2


class Progress:
    """Draws on a terminal. Another stream gets only the lines of ``say``, None gets nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._notes = stream
        self._stream = stream if stream is not None and stream.isatty() else None
        self._what, self._total, self._done = "", 0, 0
        self._began = self._drawn = 0.0

    def begin(self, what: str, total: int) -> None:
        self.end()
        self._what, self._total, self._done = what, total, 0
        self._began, self._drawn = time.monotonic(), 0.0

    def step(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._stream is None or (now - self._drawn < EVERY_S and self._done < self._total):
            return
        self._drawn = now
        rate = self._done / max(now - self._began, 1e-6)
        left = (self._total - self._done) / rate
        filled = round(24 * self._done / max(self._total, 1))
        bar = "#" * filled + "." * (24 - filled)
        pace = f"{self._done}/{self._total} {rate:.1f}/s, {left:.0f} s left"
        self._stream.write(f"\r{self._what} [{bar}] {pace}\x1b[K")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        self.end()
        if self._notes is not None:
            self._notes.write(text + "\n")
            self._notes.flush()

    def end(self) -> None:
        if self._stream is not None and self._done:
            self._stream.write("\n")
            self._stream.flush()
        self._done = 0
