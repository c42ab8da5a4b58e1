"""Probes replicas: whether one that is down is back, whether one that is up still wants requests.

A replica that answers calls only with errors is tried with a call that is known to be good. If that
works, the errors are about the requests. If it fails, the replica is ejected, unless too few would
stay: to a client, errors from the last replicas say more than no answer at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bon_gateway.backends.guard import guarded
from bon_gateway.backends.http.faults import Fault, UpstreamError
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.types import UpstreamState

logger = logging.getLogger(__name__)

# A vLLM that has just started can take tens of seconds over its first sampled token.
WARM_UP_TIMEOUT_S = 120.0

# A replica that is up may only be busy. Then the trial shows nothing.
TRIAL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Prober:
    warm_up: Callable[[Replica], Awaitable[None]]
    """Makes a first real call; raises UpstreamError if the replica is not ready."""
    interval_s: float

    async def tend(self, replica: Replica, spared: Callable[[Replica], bool]) -> None:
        """Probe ``replica`` until cancelled. After an ejection it rests for an interval. ``spared``
        says whether enough others would stay if this one were ejected for its answers."""
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = replica.ejected_at + self.interval_s - time.monotonic()
            if pause_s > 0:
                continue
            pause_s = self.interval_s
            up = replica.state is UpstreamState.UP
            step = self._check(replica, spared) if up else self._revive(replica)
            await guarded(step, f"Probing upstream {replica.name}")

    async def _check(self, replica: Replica, spared: Callable[[Replica], bool]) -> None:
        """Probe a replica that is up. Only a clear answer takes it out at once, because a busy
        engine may be slow to answer."""
        try:
            await replica.client.get(replica.health)
        except UpstreamError as error:
            if error.ours:
                # This process lacks something, such as a file descriptor. The replica may be well.
                logger.warning("Upstream %s cannot be asked: %s", replica.name, error.message)
            elif error.dead:
                replica.eject(error.message)
            elif error.status is not None:
                replica.set_aside(error.status)
            else:
                replica.silent(error.message)
        else:
            replica.healthy()
            if replica.suspect:
                await self._try(replica, spared)

    async def _try(self, replica: Replica, spared: Callable[[Replica], bool]) -> None:
        """Find out with a good call whether its error answers are its own fault."""
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT_S):
                await self.warm_up(replica)
        except UpstreamError as error:
            if error.dead or (error.kind in (Fault.FAILED, Fault.CUT) and spared(replica)):
                replica.eject(error.message)
        except TimeoutError:
            pass
        else:
            replica.answered()

    async def _revive(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                if not await self._is_well(replica):
                    return
                await self.warm_up(replica)
        except UpstreamError as error:
            replica.stays_down(error.message)
        except TimeoutError:
            replica.stays_down(f"it had not warmed up after {WARM_UP_TIMEOUT_S:g} s")
        else:
            replica.come_up()

    async def _is_well(self, replica: Replica) -> bool:
        """Whether its health is 200. A starting upstream refuses connections or answers otherwise,
        so both are expected."""
        try:
            await replica.client.get(replica.health)
        except UpstreamError as error:
            reason = error.message if error.status is None else f"Its health is {error.status}."
            expected = error.dead or error.status is not None
            if error.status is not None and 400 <= error.status < 500:
                # No upstream that starts says so: its address or the key is wrong.
                reason = f"Its health ({replica.health.path}): {error.message}"
                expected = False
            replica.stays_down(reason, expected=expected)
            return False
        return True
