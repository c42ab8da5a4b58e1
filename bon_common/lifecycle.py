"""The phase of one serving process: starting, serving or draining.

The app, its health routes and the server share one ``Lifecycle`` (``app.state.lifecycle``). It
decides nothing: the server begins the drain, and the routes say what that means to a client.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Lifecycle:
    """Moves forward only: after an early ``drain``, ``serve`` changes nothing."""

    def __init__(self) -> None:
        self._phase = Phase.STARTING
        self._in_flight = 0

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def serving(self) -> bool:
        return self._phase is Phase.SERVING

    @property
    def draining(self) -> bool:
        return self._phase is Phase.DRAINING

    @property
    def in_flight(self) -> int:
        """API requests that have begun and not ended; health checks are not counted."""
        return self._in_flight

    def serve(self) -> None:
        """The app has started."""
        if self._phase is Phase.STARTING:
            self._phase = Phase.SERVING

    def drain(self) -> None:
        """The process is about to stop. Safe to call from a signal handler, and twice."""
        self._phase = Phase.DRAINING

    def enter(self) -> None:
        self._in_flight += 1

    def leave(self) -> None:
        """Called once for each ``enter``. Raises ValueError without one."""
        if self._in_flight == 0:
            raise ValueError("leave() without enter()")
        self._in_flight -= 1
