"""Where one serving process stands: starting, serving or draining.

The app, its health routes and the server share one ``Lifecycle`` (``app.state.lifecycle``). It
decides nothing: ``server`` says when draining begins, the routes what that means to a client.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Lifecycle:
    """Moves forward only; ``drain`` may come before ``serve`` and then stands."""

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
        """One call for each ``enter``. Raises ValueError if there was none."""
        if self._in_flight == 0:
            raise ValueError("leave() without enter()")
        self._in_flight -= 1
