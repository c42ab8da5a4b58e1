"""One worker thread in which jobs take turns.

It knows neither models nor text: it loads something, then lets each active job do one step in turn,
so that a long job cannot hold up a short one.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from bon_gateway.errors import (
    PolicyError,
    PolicyFailedError,
    PolicyOverloadedError,
    PolicyUnreachableError,
)

logger = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")
State = Literal["warming", "up", "ejected"]


class EngineJob(Protocol):
    """Work that is done step by step."""

    cancelled: bool
    """Set by the engine; the job is not stepped again."""

    @property
    def over(self) -> bool: ...

    def step(self) -> None: ...

    def fail(self, error: PolicyError) -> None:
        """Called once, in the worker thread, if the job does not end by itself."""
        ...


class Engine(Generic[Loaded]):
    """Runs jobs in turns in a thread of its own. All methods may be called from any thread."""

    def __init__(
        self, load: Callable[[], Loaded], *, name: str, max_active: int, max_queue: int
    ) -> None:
        """``load`` runs in the worker thread before any job. ``max_active`` jobs take turns;
        ``max_queue`` more may wait."""
        self._load = load
        self._name = name
        self._max_active = max_active
        self._max_queue = max_queue
        self._changed = threading.Condition()
        self._waiting: deque[EngineJob] = deque()
        self._active: list[EngineJob] = []
        self._closing = False
        self._state: State = "warming"
        self._loaded: Loaded | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> State:
        """``ejected`` once loading has failed, or after ``close``."""
        return self._state

    @property
    def jobs(self) -> int:
        """Jobs active or waiting."""
        with self._changed:
            return len(self._active) + len(self._waiting)

    def loaded(self) -> Loaded:
        """What ``load`` returned. Raises PolicyUnreachableError before that and after ``close``."""
        loaded = self._loaded
        if loaded is None or self._state != "up":
            what = "is being loaded" if self._state == "warming" else "is not available"
            raise PolicyUnreachableError(f"the model {self._name} {what}")
        return loaded

    def start(self) -> None:
        """Begin to load; returns at once."""
        # A daemon thread, because a download from the hub cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="embedded-policy", daemon=True)
        self._thread.start()

    def submit(self, job: EngineJob) -> None:
        """Queue ``job``. Raises PolicyOverloadedError if the queue is full."""
        with self._changed:
            if self._closing:
                raise self._gone()
            busy = len(self._waiting) + sum(not _done(job) for job in self._active)
            if busy >= self._max_active + self._max_queue:
                raise PolicyOverloadedError(
                    f"{self._max_queue} requests wait for the model already"
                )
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: EngineJob) -> None:
        """Drop ``job``: at once if it has not begun, otherwise before its next step."""
        with self._changed:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)

    def close(self, timeout_s: float) -> bool:
        """Fail the remaining jobs and stop the thread. False if it still runs after
        ``timeout_s``."""
        with self._changed:
            self._closing = True
            self._state = "ejected"
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        error = self._guarded(self._set_up)
        if error is not None:
            logger.error("policy model %s cannot be loaded: %s", self._name, one_line(error))
            self._state = "ejected"
        while self._await_turn():
            for job in list(self._active):
                self._give_turn(job)
        for job in self._drain():
            job.fail(self._gone())
        self._loaded = None

    def _set_up(self) -> None:
        self._loaded = self._load()
        with self._changed:
            if not self._closing:
                self._state = "up"

    def _await_turn(self) -> bool:
        """Wait for work and let waiting jobs in. False if the engine is closing."""
        with self._changed:
            self._active = [job for job in self._active if not _done(job)]
            while not (self._closing or self._active or self._waiting):
                self._changed.wait()
            while self._waiting and len(self._active) < self._max_active:
                self._active.append(self._waiting.popleft())
            return not self._closing

    def _give_turn(self, job: EngineJob) -> None:
        if job.cancelled:
            return
        error = self._guarded(job.step)
        if error is None:
            return
        logger.error("policy model %s failed: %s", self._name, one_line(error))
        with self._changed:
            self._active.remove(job)
        job.fail(PolicyFailedError(f"the model failed while generating: {type(error).__name__}"))

    def _drain(self) -> list[EngineJob]:
        with self._changed:
            left = [*self._active, *self._waiting]
            self._active = []
            self._waiting.clear()
        return [job for job in left if not _done(job)]

    def _gone(self) -> PolicyUnreachableError:
        return PolicyUnreachableError(f"the model {self._name} is shutting down")

    def _guarded(self, action: Callable[[], None]) -> Exception | None:
        """The worker's one capture point. A model, its code and its kernels may raise anything, and
        nothing may end the thread on which all requests depend."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - see above
            # The frames of the traceback would keep the failed step's tensors alive.
            return error.with_traceback(None)
        return None


def _done(job: EngineJob) -> bool:
    return job.cancelled or job.over


def one_line(error: Exception) -> str:
    """Class and message in one line; messages of libraries often have several."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
