from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from bon_gateway.backends.policy.embedded.engine import Engine
from bon_gateway.errors import PolicyError, PolicyOverloadedError, PolicyUnreachableError
from tests.waiting import wait_until


class Steps:
    """A job of so many steps, each of which waits for a permit."""

    def __init__(self, name: str, steps: int, log: list[str]) -> None:
        self.cancelled = False
        self.permits = threading.Semaphore(0)
        self.error: PolicyError | None = None
        self.breaks_at: int | None = None
        self._name = name
        self._left = steps
        self._log = log

    @property
    def over(self) -> bool:
        return self._left == 0

    def step(self) -> None:
        assert self.permits.acquire(timeout=10)
        if self._left == self.breaks_at:
            raise IndexError("index\nout of range")
        self._log.append(self._name)
        self._left -= 1

    def fail(self, error: PolicyError) -> None:
        self.error = error


@pytest.fixture
def engine() -> Iterator[Engine[str]]:
    engine = Engine(lambda: "model", name="m", max_active=2, max_queue=2)
    engine.start()
    wait_until(lambda: engine.state == "up")
    yield engine
    assert engine.close(10)


def test_jobs_take_turns(engine: Engine[str]) -> None:
    log: list[str] = []
    long, short = Steps("long", 6, log), Steps("short", 2, log)
    engine.submit(long)
    wait_until(lambda: not engine._waiting)
    engine.submit(short)
    short.permits.release(2)
    long.permits.release(6)
    wait_until(lambda: engine.jobs == 0)
    assert log[:6] == ["long", "long", "short", "long", "short", "long"]


def test_a_job_that_waits_comes_in_when_another_ends(engine: Engine[str]) -> None:
    log: list[str] = []
    jobs = [Steps(name, 1, log) for name in "abc"]
    for job in jobs:
        engine.submit(job)
        job.permits.release()
    wait_until(lambda: engine.jobs == 0)
    assert log == ["a", "b", "c"]


def test_the_queue_is_bounded_and_says_when_to_come_back(engine: Engine[str]) -> None:
    log: list[str] = []
    jobs = [Steps(str(i), 1, log) for i in range(4)]
    for job in jobs:
        engine.submit(job)
    late = Steps("late", 1, log)
    with pytest.raises(PolicyOverloadedError) as caught:
        engine.submit(late)
    assert caught.value.retry_after
    engine.cancel(jobs[2])
    assert engine.jobs == 3
    engine.submit(late)
    for job in [*jobs, late]:
        job.permits.release()
    wait_until(lambda: engine.jobs == 0)
    assert sorted(log) == ["0", "1", "3", "late"]


def test_a_cancelled_job_is_not_stepped_again(engine: Engine[str]) -> None:
    log: list[str] = []
    job = Steps("x", 1000, log)
    job.permits.release(3)
    engine.submit(job)
    wait_until(lambda: len(log) == 3)
    engine.cancel(job)
    job.permits.release(100)
    wait_until(lambda: engine.jobs == 0)
    assert len(log) <= 4
    assert job.error is None


def test_a_job_cancelled_in_the_turn_of_another_is_not_stepped(engine: Engine[str]) -> None:
    log: list[str] = []
    first, second = Steps("first", 3, log), Steps("second", 3, log)
    engine.submit(first)
    wait_until(lambda: not engine._waiting)
    engine.submit(second)
    first.permits.release()
    wait_until(lambda: engine._active == [first, second] and log == ["first"])
    engine.cancel(second)
    second.permits.release(3)
    first.permits.release(2)
    wait_until(lambda: engine.jobs == 0)
    assert log == ["first"] * 3


def test_a_step_that_raises_fails_its_job_alone(
    engine: Engine[str], caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    bad, good = Steps("bad", 3, log), Steps("good", 3, log)
    bad.breaks_at = 2
    for job in (bad, good):
        job.permits.release(9)
        engine.submit(job)
    wait_until(lambda: engine.jobs == 0)
    assert (log.count("bad"), log.count("good")) == (1, 3)
    assert bad.error is not None
    assert (bad.error.status, bad.error.retryable) == (502, True)
    assert good.error is None
    assert "IndexError: index out of range" in caplog.text


def test_closing_fails_what_is_left_and_ends_the_thread() -> None:
    engine = Engine(lambda: "model", name="m", max_active=1, max_queue=5)
    engine.start()
    wait_until(lambda: engine.state == "up")
    log: list[str] = []
    jobs = [Steps(name, 1000, log) for name in "ab"]
    for job in jobs:
        engine.submit(job)
    wait_until(lambda: len(engine._waiting) == 1)
    jobs[0].permits.release(1)
    assert engine.close(10)
    assert all(isinstance(job.error, PolicyUnreachableError) for job in jobs)
    with pytest.raises(PolicyUnreachableError):
        engine.submit(Steps("late", 1, log))
    with pytest.raises(PolicyUnreachableError):
        engine.loaded()
    assert not [t for t in threading.enumerate() if t.name == "embedded-policy"]


def test_a_failed_load_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> str:
        raise OSError("no such\nmodel")

    engine = Engine(load, name="my-model", max_active=1, max_queue=1)
    engine.start()
    wait_until(lambda: engine.state != "warming")
    assert engine.state == "ejected"
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.ERROR, "policy model my-model cannot be loaded: OSError: no such model")
    ]
    with pytest.raises(PolicyUnreachableError, match="not available"):
        engine.loaded()
    assert engine.close(10)


def test_before_it_is_loaded_it_says_so() -> None:
    gate = threading.Event()
    engine = Engine(lambda: gate.wait(10), name="m", max_active=1, max_queue=1)
    engine.start()
    with pytest.raises(PolicyUnreachableError, match="is being loaded") as caught:
        engine.loaded()
    assert caught.value.retry_after
    assert not engine.close(0.01)
    gate.set()
    assert engine.close(10)
    assert engine.state == "ejected"


def test_closing_what_never_started() -> None:
    assert Engine(lambda: 1, name="m", max_active=1, max_queue=1).close(1)
