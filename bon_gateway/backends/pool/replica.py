"""One replica of an upstream pool: its address, its state, and the calls that it works on.

    warming --> up --> unready or ejected --> up --> ...
    any     --> leaving

It is up once its health address answers 200 and the backend's warm-up call has succeeded. It is
unready if its health answers anything else. It is ejected if its connection is refused, its engine
is dead, or several calls or health checks in a row had no answer. It comes back in the way that it
first came up. Error answers come from a live server and may be about the requests, so several in a
row only make it suspect: see the prober. What it works on goes on in any state.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from types import TracebackType

from yarl import URL

from bon_gateway.backends.http.client import HttpClient, base_url
from bon_gateway.backends.http.faults import Fault, UpstreamError
from bon_gateway.backends.http.names import Address
from bon_gateway.types import UpstreamState

logger = logging.getLogger(__name__)

TROUBLES_TOLD = 20
"""Number of different reasons for not coming up that are logged."""


class Replica:
    """One upstream with its own connections."""

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        call_path: str,
        health_path: str,
        failures_to_eject: int,
        address: Address | None = None,
    ) -> None:
        """``address`` is the fixed address of ``client``; None follows the url's host name."""
        base = base_url(url)
        self.client = client
        self.url = url
        self.address = address
        self.call = URL(base + call_path)
        self.health = URL(base + health_path)
        self.models = URL(base + "/v1/models")
        place = self.call if address is None else self.call.with_host(address.host)
        # Not the url itself, which may hold a password.
        self.name = f"{place.host_port_subcomponent}{URL(base).path.rstrip('/')}"
        self.model: str | None = None
        """The model's name there, once known."""
        self.state = UpstreamState.WARMING
        self.named = True
        """Whether its host name still leads to its address, as far as is known."""
        self.was_up = False
        self.in_flight = 0
        """Candidates that it works on for this pool."""
        self.idle = asyncio.Event()
        """Set when it is leaving and has nothing in flight."""
        self.failed_at = -math.inf
        """When a call last failed or was turned away, by ``time.monotonic``."""
        self.silences = 0
        """Health checks in a row without an answer. A call with an answer resets it."""
        self.ejected_at = -math.inf
        self._failures_to_eject = failures_to_eject
        self._failures = 0
        """Calls in a row without an answer."""
        self._errors = 0
        """Calls in a row with an error answer."""
        self._blamed_for: str | None = None
        """Request id of the last failed call."""
        self.trouble: str | None = None
        """Why it is not up, if known."""
        self.note: str | None = None
        """What its last warm-up call showed, if it can serve all the same."""
        self._told: set[str] = set()

    @property
    def suspect(self) -> bool:
        """Whether its last several answers were all errors."""
        return self._errors >= self._failures_to_eject

    def in_doubt(self, since: float) -> bool:
        """Whether a call has failed after ``since``, or its last health check had no answer."""
        return self.silences > 0 or self.failed_at > since

    def come_up(self) -> None:
        self.answered()
        self.trouble = None
        self._told.clear()
        self.state = UpstreamState.UP
        self.was_up = True
        if self.note is None:
            logger.info("Upstream %s is up", self.name)
        else:
            logger.warning("Upstream %s is up, but: %s", self.name, self.note)

    def stays_down(self, reason: str, *, expected: bool = False) -> None:
        """It was probed and is not up. Each reason is logged once until it comes up. A reason that
        is ``expected`` while it starts is no warning."""
        self.trouble = reason
        if reason not in self._told and len(self._told) < TROUBLES_TOLD:
            self._told.add(reason)
            level = logging.INFO if expected else logging.WARNING
            logger.log(level, "Upstream %s does not come up: %s", self.name, reason)

    def answered(self) -> None:
        """A call has ended as it should."""
        self._failures = 0
        self._errors = 0
        self.silences = 0

    def healthy(self) -> None:
        """A health check answered 200."""
        self.silences = 0

    def silent(self, reason: str) -> None:
        """A health check had no answer. A busy replica may be silent too, so it counts first."""
        self.silences += 1
        if self.silences >= self._failures_to_eject:
            self.eject(f"its health check fails: {reason}")

    def blame(self, reason: str, request_id: str | None, *, answered: bool) -> None:
        """A call has failed, with an answer or without. Consecutive failures of one request count
        once, so that a request which always fails cannot eject a replica by itself."""
        self.failed_at = time.monotonic()
        if request_id is not None and request_id == self._blamed_for:
            return
        self._blamed_for = request_id
        if answered:
            self._errors += 1
            return
        self._failures += 1
        if self._failures >= self._failures_to_eject:
            self.eject(reason)

    def eject(self, reason: str) -> None:
        if self.state is UpstreamState.UP:
            logger.warning("Upstream %s is ejected: %s", self.name, reason)
            self.state = UpstreamState.EJECTED
            self.trouble = reason
            self.ejected_at = time.monotonic()

    def set_aside(self, status: int) -> None:
        """Its health is ``status``, so it wants no new requests."""
        if self.state is UpstreamState.UP:
            logger.warning("Upstream %s is unready: its health is %d", self.name, status)
            self.state = UpstreamState.UNREADY
            self.trouble = f"Its health is {status}."

    def leave(self) -> None:
        logger.info("Upstream %s leaves, with %d candidates in flight", self.name, self.in_flight)
        self.state = UpstreamState.LEAVING
        self._is_idle()

    def release(self, candidates: int) -> None:
        """It no longer works on this many candidates."""
        self.in_flight -= candidates
        if self.state is UpstreamState.LEAVING:
            self._is_idle()

    def _is_idle(self) -> None:
        if not self.in_flight:
            self.idle.set()


class Lease:
    """One call's share of one replica. Leaving it gives back the candidates that have not ended."""

    def __init__(self, replica: Replica, candidates: int, request_id: str | None) -> None:
        self.replica = replica
        self._left = candidates
        self._request_id = request_id
        self._blamed = False
        replica.in_flight += candidates

    def done(self, error: UpstreamError | None = None) -> None:
        """One candidate has ended. A call of many candidates blames the replica only once."""
        self._left -= 1
        self.replica.in_flight -= 1
        if error is None or error.kind is Fault.REFUSED:
            self.replica.answered()
        elif error.ours:
            # The call never left this process.
            return
        elif error.dead:
            self.replica.eject(error.message)
        elif error.kind is Fault.OVERLOADED:
            # It is well, but the candidate should be drawn again elsewhere.
            self.replica.failed_at = time.monotonic()
        elif not self._blamed:
            self._blamed = True
            answered = error.kind is Fault.FAILED or error.status is not None
            self.replica.blame(error.message, self._request_id, answered=answered)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.replica.release(self._left)
        self._left = 0
