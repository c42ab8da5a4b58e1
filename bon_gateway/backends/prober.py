"""Asks replicas how they are: those that are down whether they are back, those that are up whether
they still want requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from bon_gateway.backends.faults import UpstreamError
from bon_gateway.backends.guard import guarded
from bon_gateway.backends.replica import Replica
from bon_gateway.types import UpstreamState

logger = logging.getLogger(__name__)

# A vLLM that has just started can take tens of seconds over its first sampled token.
WARM_UP_TIMEOUT_S = 120.0


class Prober:
    """``warm_up`` makes a first real call; it raises UpstreamError if the replica is not ready."""

    def __init__(self, warm_up: Callable[[Replica], Awaitable[None]], interval_s: float) -> None:
        self._warm_up = warm_up
        self._interval_s = interval_s

    async def tend(self, replica: Replica) -> None:
        """For ever. One that was ejected rests for an interval."""
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = replica.ejected_at + self._interval_s - time.monotonic()
            if pause_s > 0:
                continue
            pause_s = self._interval_s
            step = self._check if replica.state is UpstreamState.UP else self._revive
            await guarded(step(replica), f"Probing upstream {replica.name}")

    async def _check(self, replica: Replica) -> None:
        """Only a clear answer takes it out at once: a busy engine may be slow to say how it is."""
        try:
            await replica.client.get(replica.health)
        except UpstreamError as error:
            if error.dead:
                replica.eject(error.message)
            elif error.status is not None:
                replica.set_aside(error.status)
            else:
                replica.silent(error.message)
        else:
            replica.healthy()

    async def _revive(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                await replica.client.get(replica.health)
                await self._warm_up(replica)
        except UpstreamError as error:
            logger.debug("Upstream %s is not up: %s", replica.name, error.message)
        except TimeoutError:
            logger.warning("Upstream %s hangs while it warms up", replica.name)
        else:
            replica.come_up()
