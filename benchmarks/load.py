"""A closed-loop load generator, and the processes that it loads."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

STARTUP_S = 400
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load generator saw."""

    requests: int
    seconds: float
    latencies: Sequence[float]
    """Seconds, sorted."""
    server_cpu_ms: float
    """CPU milliseconds that the watched process spent on one request."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def quantile(self, q: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(q * len(self.latencies)))]


async def run_load(
    once: Callable[[int], Awaitable[None]],
    *,
    clients: int,
    seconds: float,
    watched: psutil.Process | None = None,
) -> Load:
    """Have ``clients`` call ``once`` (with a running number) one call after another for
    ``seconds``; calls that have begun are finished and counted. Each makes one call at least."""
    latencies: list[float] = []
    number = iter(range(1 << 60))
    cpu = 0.0 if watched is None else cpu_seconds(watched)
    started = time.perf_counter()

    async def client() -> None:
        # The time is looked at after the call: a busy machine may come to the first one too late.
        while True:
            begun = time.perf_counter()
            await once(next(number))
            latencies.append(time.perf_counter() - begun)
            if time.perf_counter() - started >= seconds:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())
    took = time.perf_counter() - started
    spent = 0.0 if watched is None else cpu_seconds(watched) - cpu
    return Load(
        requests=len(latencies),
        seconds=took,
        latencies=sorted(latencies),
        server_cpu_ms=1000 * spent / len(latencies),
    )


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process like an exception, so that what it started is stopped."""

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def fake_upstream(*, delay_ms: float, tokens: int, more: Sequence[str] = ()) -> Iterator[str]:
    """A fake upstream in a process of its own, with ``more`` of its flags; its address."""
    script = ROOT / "benchmarks" / "upstream.py"
    arguments = ["--delay-ms", str(delay_ms), "--tokens", str(tokens), *more]
    with subprocess.Popen(
        [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@contextlib.contextmanager
def gateway(settings: Path, port: int, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A gateway in a process of its own, ready; its address and its process."""
    command = [sys.executable, "-m", "bon_gateway", "serve", "--config", str(settings)]
    with (
        log.open("wb") as stderr,
        subprocess.Popen([*command, "--port", str(port)], stderr=stderr) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            asyncio.run(wait_ready(f"{url}/readyz", process))
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


async def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError if the process ends, or is not ready in time."""
    async with aiohttp.ClientSession() as session:
        for _ in range(STARTUP_S * 10):
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{url} was not ready within {STARTUP_S} s")
