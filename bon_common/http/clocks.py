"""Whether bytes move fast enough: those of a request's body, and those of an answer."""

from __future__ import annotations

from bon_common.http.limits import LEAST_BYTES_PER_S


class BodyClock:
    """Asked from time to time, so that a request pays nothing for it."""

    __slots__ = ("_began", "_progress", "_seen", "_stall_s", "_start", "_subject")

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._subject: object = None
        self._began = self._progress = 0.0
        self._start = self._seen = 0

    def restart(self) -> None:
        """Start anew: the time until now was not the client's fault."""
        self._subject = None

    def expired(self, subject: object, count: int, now: float) -> bool:
        """Whether the sender is too slow. ``count`` are the bytes of the message ``subject`` so
        far; each message has its own time."""
        if subject is not self._subject:
            self._subject = subject
            self._began = self._progress = now
            self._start = self._seen = count
        elif count != self._seen:
            self._progress, self._seen = now, count
        allowed = self._stall_s + (count - self._start) / LEAST_BYTES_PER_S
        return now - self._progress >= self._stall_s or now - self._began >= allowed


class WriteClock:
    """Runs while the socket accepts no more of an answer."""

    __slots__ = ("_began", "_first", "_left", "_progress", "_stall_s")

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._began: float | None = None
        self._progress = 0.0
        self._first = self._left = 0

    def stop(self) -> None:
        self._began = None

    def expired(self, left: int, now: float) -> bool:
        """Whether the reader is too slow; ``left`` bytes are not written yet."""
        if self._began is None:
            self._began = self._progress = now
            self._first = self._left = left
        elif left < self._left:
            self._progress, self._left = now, left
        allowed = self._stall_s + self._first / LEAST_BYTES_PER_S
        return now - self._progress >= self._stall_s or now - self._began >= allowed
