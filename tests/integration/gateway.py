"""A real gateway process: its settings, its answers, and what it holds on to."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from tests.integration.exposition import get, scrape, total
from tests.integration.processes import Processes, in_folder, with_descriptors
from tests.waiting import wait_until

BOOT_S = 120.0
IDLE_S = 15.0
"""Idle connections to upstreams are closed after 4 s, on a timer that may come a turn later."""
GAUGES = ("bon_requests_in_flight", "bon_candidates_in_flight")


class Gateway:
    """``python -m bon_gateway serve``, listening on a port of its own choice."""

    def __init__(
        self,
        processes: Processes,
        settings: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        descriptors: int | None = None,
        flags: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        """Without settings it is the embedded default. It runs in `folder`, if one is given."""
        command = [sys.executable, "-m", "bon_gateway", "serve", "--port", "0", *flags]
        if settings is not None:
            path = processes.write("gateway.yaml", yaml.safe_dump(dict(settings)))
            command += ["--config", str(path)]
        if descriptors is not None:
            command = with_descriptors(command, descriptors)
        if folder is not None:
            command = in_folder(command, folder)
        self.process = processes.start("gateway", command, environ)
        self._url: str | None = None

    @property
    def url(self) -> str:
        assert self._url is not None, "wait() has found the address"
        return self._url

    def wait(self) -> None:
        """Until it is ready and all of its upstreams have been warmed up."""
        self.wait_listening()
        self.process.wait_until(lambda: self.ready and self._all_up(), BOOT_S, "is ready")

    def wait_listening(self) -> None:
        """Until its address is known."""
        self.process.wait_until(lambda: "listening on " in self.process.output, BOOT_S, "listens")
        found = re.search(r"^listening on (\S+)$", self.process.output, re.MULTILINE)
        assert found is not None
        self._url = found[1]

    def _all_up(self) -> bool:
        upstreams = get(f"{self.url}/readyz").json()["upstreams"]
        return set(upstreams.values()) == {"up"}

    @property
    def ready(self) -> bool:
        return get(f"{self.url}/readyz").status_code == 200

    def metric(self, sample: str, **labels: str) -> float:
        return total(scrape(self.url), sample, **labels)

    async def chat(self, **body: Any) -> httpx.Response:
        """One request over a connection of its own, which cancelling closes."""
        async with self.client() as client:
            return await client.post("/v1/chat/completions", json=body)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        # Without TLS, whose certificates take long to load.
        async with httpx.AsyncClient(base_url=self.url, timeout=60, verify=False) as client:
            yield client

    def connections(self, ports: Iterable[int]) -> int:
        """Connections that any of its processes holds open to these ports."""
        wanted = set(ports)
        return sum(
            bool(connection.raddr) and connection.raddr.port in wanted
            for member in self.process.members()
            for connection in _connections(member)
        )

    def wait_done(self) -> None:
        """Nothing is in flight."""
        wait_until(lambda: not any(self.metric(gauge) for gauge in GAUGES), IDLE_S, "gauges are 0")

    def wait_idle(self, *ports: int) -> None:
        """Nothing is in flight, and no connection to these upstreams is held any longer."""
        self.wait_done()
        wait_until(lambda: self.connections(ports) == 0, IDLE_S, "connections are closed")


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return []


async def leave(request: asyncio.Task[Any]) -> None:
    """Close the client's connection in the middle of its request."""
    assert not request.done(), "the request has ended before its client could leave"
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
