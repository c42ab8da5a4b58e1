"""The replicas of one upstream: which exist, and which is least loaded.

Each url is one replica, or a host name with a replica behind each of its addresses. This module
does not retry anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

from bon_gateway.backends.http.faults import Fault, UpstreamError
from bon_gateway.backends.http.names import Address, LookUp
from bon_gateway.backends.pool.discovery import Discovery
from bon_gateway.backends.pool.prober import Prober
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.types import UpstreamState

logger = logging.getLogger(__name__)

MAX_REASON_CHARS = 400


class ReplicaPool:
    """Owns its replicas, their connections, and the tasks that probe them.

    ``build`` makes the replica of a url at an address; with address None the host name is used.
    With ``look_up`` the addresses are looked up every ``resolve_interval_s``.
    """

    def __init__(
        self,
        urls: Sequence[str],
        build: Callable[[str, Address | None], Replica],
        prober: Prober,
        *,
        rest_s: float,
        look_up: LookUp | None = None,
        resolve_interval_s: float = 5.0,
    ) -> None:
        """A replica that has failed comes last for ``rest_s`` seconds."""
        self._build = build
        self._prober = prober
        self._rest_s = rest_s
        self._replicas: list[Replica] = []
        self._discoveries: list[Discovery] = []
        if look_up is None:
            self._replicas = [build(url, None) for url in urls]
        else:
            self._discoveries = [
                Discovery(url, look_up, resolve_interval_s, partial(self._found, url))
                for url in urls
            ]
        self._leaving: list[Replica] = []
        self._was_up = False
        self._turn = 0
        self._probers: dict[Replica, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for replica in self._replicas:
            self._tend(replica)
        for discovery in self._discoveries:
            self._spawn(discovery.follow(), f"discovery {discovery.name}")

    async def close(self) -> None:
        tasks = [*self._tasks, *self._probers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._probers.clear()
        for replica in (*self._replicas, *self._leaving):
            await replica.client.close()

    def ready(self) -> bool:
        return any(replica.state is UpstreamState.UP for replica in self._replicas)

    def warming(self) -> bool:
        """Whether none has ever been up."""
        return not (self._was_up or any(replica.was_up for replica in self._replicas))

    def states(self) -> dict[str, str]:
        """Each replica's state by its host, port and path."""
        # A replica whose address came back while it was leaving is there twice; the new one counts.
        replicas = (*self._leaving, *self._replicas)
        return {replica.name: replica.state.value for replica in replicas}

    def troubles(self) -> dict[str, str]:
        """Why replicas are not up, by their names, if known."""
        return {
            replica.name: replica.trouble
            for replica in self._replicas
            if replica.trouble is not None and replica.state is not UpstreamState.UP
        }

    def _why_none(self) -> str:
        """The message for clients, so it names no replica."""
        reasons = sorted(set(self.troubles().values()))
        told = " ".join(reasons[:3])[:MAX_REASON_CHARS]
        return f"No upstream is up. {told}" if told else "No upstream is up."

    def _may_do_without(self, replica: Replica) -> bool:
        """Whether ``replica`` may be ejected for its answers: one, and at least half, must stay."""
        up = sum(
            other.state is UpstreamState.UP for other in self._replicas if other is not replica
        )
        return up > 0 and 2 * up >= len(self._replicas)

    def lease(
        self, candidates: int, request_id: str | None = None, *, prefer: Replica | None = None
    ) -> Lease:
        """The least loaded replica that is up; equals take turns. Raises UpstreamError.

        ``prefer`` is taken instead if it is up and in no doubt. A replica that has just failed, or
        whose health check had no answer, comes last. It has nothing in flight, but for a bad
        reason, and a candidate that it lost must not be drawn again there.
        """
        count = len(self._replicas)
        rested = time.monotonic() - self._rest_s
        if prefer and prefer.state is UpstreamState.UP and not prefer.in_doubt(rested):
            return Lease(prefer, candidates, request_id)
        best: int | None = None
        least: tuple[bool, int] | None = None
        for step in range(count):
            place = (self._turn + step) % count
            replica = self._replicas[place]
            load = (replica.in_doubt(rested), replica.in_flight)
            if replica.state is UpstreamState.UP and (least is None or load < least):
                best, least = place, load
        if best is None:
            raise UpstreamError(
                Fault.UNREACHABLE, self._why_none(), retry_after=self._rest_s, none_up=True
            )
        self._turn = (best + 1) % count
        return Lease(self._replicas[best], candidates, request_id)

    def _found(self, url: str, addresses: Collection[Address]) -> None:
        """The host name in ``url`` now leads to ``addresses``."""
        known = {replica.address: replica for replica in self._replicas if replica.url == url}
        for address, replica in known.items():
            replica.named = address in addresses
        for address in sorted(set(addresses).difference(known)):
            replica = self._build(url, address)
            self._replicas.append(replica)
            self._tend(replica)
        # Replicas that are up but no longer named stay until a named one is up: the new ones may
        # still be warming up, and a name that leads nowhere may be a fault of the resolver.
        replaced = any(
            replica.named and replica.state is UpstreamState.UP for replica in self._replicas
        )
        for replica in self._replicas.copy():
            if not replica.named and (replaced or replica.state is not UpstreamState.UP):
                self._let_go(replica)

    def _let_go(self, replica: Replica) -> None:
        self._was_up = self._was_up or replica.was_up
        self._replicas.remove(replica)
        self._leaving.append(replica)
        replica.leave()
        prober = self._probers.pop(replica)
        prober.cancel()
        self._spawn(self._see_off(replica, prober), f"leaving {replica.name}")

    async def _see_off(self, replica: Replica, prober: asyncio.Task[None]) -> None:
        """Close the replica when what it works on has ended."""
        await asyncio.wait([prober])
        await replica.idle.wait()
        await replica.client.close()
        self._leaving.remove(replica)
        logger.info("Upstream %s has left", replica.name)

    def _tend(self, replica: Replica) -> None:
        replica.client.open()
        self._probers[replica] = asyncio.create_task(
            self._prober.tend(replica, self._may_do_without), name=f"prober {replica.name}"
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
