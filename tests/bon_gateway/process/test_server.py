"""The server as a process of its own: how it starts, shares the work, and ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.waiting import wait_until

APP = Path(__file__).with_name("serving_app.py")
ROOT = APP.parents[3]
PATIENCE_S = 20.0


def alive(processes: list[psutil.Process]) -> bool:
    """Whether any runs; one that has ended and whose parent has not asked after it does not."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


class Running:
    """One server process and its stderr."""

    def __init__(self, folder: Path, environ: dict[str, str], **server: Any) -> None:
        settings = {
            "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
            "models": {"a": {"policy": "p", "strategy": {"type": "single"}}},
            "server": {"port": 0, **server},
        }
        self._log = folder / "stderr"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environ = {**os.environ, **environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary)}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(APP), json.dumps(settings)],
                stderr=log,
                env=environ,
                start_new_session=True,
            )
        self.children: list[psutil.Process] = []
        """To be ended with the server, should they outlive it."""
        self.asked = 0
        """Requests that ``workers`` has made."""

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"^listening on (\S+)$", self.stderr, re.MULTILINE)
        return found[1] if found else ""

    def wait_for_start(self) -> None:
        def started() -> bool:
            assert self.process.poll() is None, self.stderr
            return bool(self.url)

        wait_until(started, what="listening")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE_S)

    def complete(self, seconds: float = 0.0) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/chat/completions?seconds={seconds}", timeout=PATIENCE_S)

    def value(self, sample: str) -> float:
        """Sum of a metric's samples whose line begins so."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))

    def workers(self) -> set[int]:
        """The processes that answer, by asking until two have."""
        pids: set[int] = set()

        def both() -> bool:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: self.complete(0.05), range(8)))
            pids.update(answer.json()["pid"] for answer in answers)
            self.asked += len(answers)
            return len(pids) >= 2

        self.asked = 0
        wait_until(both, what="two workers that answer")
        return pids

    def stop(self) -> None:
        ended = self.process.poll() is not None
        children = [] if ended else psutil.Process(self.process.pid).children()
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for child in [*children, *self.children]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(environ: dict[str, str] | None = None, **server: Any) -> Running:
        running = Running(tmp_path, environ or {}, **server)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.stop()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def begin_request(
    pool: ThreadPoolExecutor, running: Running, seconds: float
) -> Future[httpx.Response]:
    future = pool.submit(running.complete, seconds)
    wait_until(lambda: running.value("bon_requests_in_flight ") == 1, what="a request in flight")
    return future


def refuses(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_answers_what_is_in_flight_and_takes_requests_for_the_delay(
    start: Start, pool: ThreadPoolExecutor, workers: int
) -> None:
    running = start(workers=workers, drain_delay_s=1.5)
    running.wait_for_start()
    assert running.get("/readyz").status_code == 200
    slow = begin_request(pool, running, 2.5)

    running.process.send_signal(signal.SIGTERM)

    wait_until(lambda: running.get("/readyz").status_code == 503, what="readiness to go false")
    late = running.complete()
    assert late.status_code == 200
    assert late.headers["connection"] == "close"
    wait_until(lambda: refuses(running.url), what="the socket to close")
    assert not slow.done()
    assert slow.result().status_code == 200
    assert running.process.wait(PATIENCE_S) == 0
    assert list(running.temporary.iterdir()) == []


def test_what_outlives_the_grace_time_is_told_so(start: Start, pool: ThreadPoolExecutor) -> None:
    running = start(drain_grace_s=1)
    running.wait_for_start()
    slow = begin_request(pool, running, 15)

    running.process.send_signal(signal.SIGINT)

    answer = slow.result()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "draining"
    assert answer.headers["retry-after"] == "1"
    assert running.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_it_at_once(
    start: Start, pool: ThreadPoolExecutor, workers: int
) -> None:
    running = start(workers=workers)
    running.wait_for_start()
    slow = begin_request(pool, running, 15)
    children = psutil.Process(running.process.pid).children()
    running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(running.url), what="the drain to begin")
    began = time.monotonic()

    running.process.send_signal(signal.SIGTERM)

    assert running.process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 5
    assert isinstance(slow.exception(), httpx.TransportError)
    wait_until(lambda: not alive(children), what="the workers to end")
    assert list(running.temporary.iterdir()) == []


def test_a_signal_to_the_whole_group_drains_the_workers(
    start: Start, pool: ThreadPoolExecutor
) -> None:
    running = start(workers=2)
    running.wait_for_start()
    slow = begin_request(pool, running, 1.5)

    os.killpg(running.process.pid, signal.SIGINT)

    assert slow.result().status_code == 200
    assert running.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in running.stderr


def test_signals_to_workers_that_still_import_are_held_back(start: Start) -> None:
    running = start({"TEST_INTERRUPT_START": "1"}, workers=2)
    running.wait_for_start()

    running.workers()
    assert "Traceback" not in running.stderr
    assert "a worker died" not in running.stderr


def test_metrics_are_the_sums_of_all_workers_and_outlive_one(
    start: Start, pool: ThreadPoolExecutor
) -> None:
    running = start(workers=2)
    running.wait_for_start()
    pids = running.workers()
    requests = 'bon_requests_total{model="a",status="200",strategy="single"} '
    seen: dict[str, float] = {}

    def every_worker_told() -> bool:
        answer = running.get("/metrics")
        line = next(line for line in answer.text.splitlines() if line.startswith(requests))
        seen[answer.headers["x-pid"]] = float(line.removeprefix(requests))
        return len(seen) == 2

    wait_until(every_worker_told, what="the metrics of both workers")
    assert set(seen.values()) == {running.asked}
    assert running.value("bon_request_duration_seconds_count") == running.asked
    slow = begin_request(pool, running, 15)
    busy = next(iter(_busy_of(running, pids)))

    os.kill(busy, signal.SIGKILL)

    assert isinstance(slow.exception(), httpx.TransportError)
    wait_until(lambda: running.value("bon_requests_in_flight ") == 0, what="its gauges to go")
    assert running.value(requests) == running.asked
    before = running.asked
    replaced = running.workers()
    assert busy not in replaced
    assert running.value(requests) == before + running.asked
    assert "a worker died and is replaced" in running.stderr


def _busy_of(running: Running, pids: set[int]) -> set[int]:
    """The worker with a request in flight is the one whose own gauge file says so."""
    from prometheus_client.mmap_dict import MmapedDict

    busy = set()
    for pid in pids:
        (path,) = running.temporary.glob(f"*/gauge_livesum_{pid}.db")
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):
            if "bon_requests_in_flight" in key and value == 1:
                busy.add(pid)
    return busy


def test_workers_end_with_their_supervisor(start: Start) -> None:
    running = start(workers=2)
    running.wait_for_start()
    running.children = children = psutil.Process(running.process.pid).children()
    assert alive(children)

    running.process.kill()

    running.process.wait(PATIENCE_S)
    wait_until(lambda: not alive(children), what="the workers to end")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_app_that_cannot_start_ends_the_server(start: Start, workers: int) -> None:
    running = start({"TEST_FAIL_STARTUP": "1"}, workers=workers)

    assert running.process.wait(PATIENCE_S) == 3
    assert "told to fail" in running.stderr
    assert "listening on" not in running.stderr


def test_an_open_address_without_keys_is_warned_of(start: Start) -> None:
    running = start(host="0.0.0.0")
    running.wait_for_start()

    lines = running.stderr.splitlines()

    assert json.loads(lines[0])["level"] == "warning"
    assert "no API key" in json.loads(lines[0])["message"]
    assert lines[1].startswith("listening on http://0.0.0.0:")
