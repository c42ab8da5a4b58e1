"""Several worker processes that share one listening socket, and the process that minds them.

uvicorn has a supervisor too. But it kills workers that take long to import their libraries, waits
out the grace time whatever signals come, and leaves its workers running when it is killed itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess

from bon_gateway.metrics import MULTIPROCESS_VARIABLE

HELD_BACK = {signal.SIGINT, signal.SIGHUP}
"""Signals that wait until a new worker can deal with them."""
RESTART_INTERVAL_S = 1.0
"""A worker that dies is replaced, but not sooner than this after its own start."""

Announce = Callable[[], None]


class Report:
    """How a worker speaks to its supervisor."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe

    def serving(self) -> None:
        self._send(None)

    def keep(self, newest: object) -> None:
        """Send what a worker that replaces another will begin with. It is pickled."""
        self._send(newest)

    def _send(self, word: object) -> None:
        # If the supervisor is gone, ``_end_with_supervisor`` ends this process.
        with suppress(OSError):
            self._pipe.send(word)


Work = Callable[[Report, object | None], None]
"""What a worker process does until a SIGTERM ends it. Its second argument is the last value that
any worker gave to ``Report.keep``. It is pickled."""

_log = logging.getLogger("bon_gateway.supervisor")


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    """The worker writes to it when it serves. It closes when either side ends."""
    started: float
    served: bool = False

    @property
    def pid(self) -> int:
        pid = self.process.pid
        assert pid is not None, "it has been started"
        return pid


class Supervisor:
    """Keeps ``count`` workers alive.

    ``announce`` is called when the first of them serves. ``listener`` is the socket on which
    ``work`` listens. It is closed here when the workers are told to stop; otherwise it would go on
    to take connections that nobody answers.
    """

    def __init__(self, work: Work, count: int, announce: Announce, listener: socket.socket) -> None:
        self._work = work
        self._count = count
        self._announce = announce
        self._listener = listener
        self._announced = False
        self._workers: list[_Worker] = []
        self._restarts: list[float] = []
        """Times at which dead workers are replaced."""
        self._signals: list[int] = []
        self._newest: object | None = None
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        """Serve until every worker has ended. Returns the exit code.

        SIGTERM and SIGINT let the workers drain, a second one kills them. SIGHUP is passed on. If
        no worker ever serves, the code is that of the first worker to fail.
        """
        with _fresh_metrics_folder(), _signals_to(self._signals) as wakeup:
            self._workers = [self._start() for _ in range(self._count)]
            try:
                while self._workers or self._restarts:
                    self._step(wakeup)
            finally:
                self._kill()
        return self._exit_code

    def _step(self, wakeup: socket.socket) -> None:
        now = time.monotonic()
        timeout = max(0.0, min(self._restarts) - now) if self._restarts else None
        ready = connection.wait([wakeup, *(worker.pipe for worker in self._workers)], timeout)
        if wakeup in ready:
            wakeup.recv(4096)
        while self._signals:
            self._told(self._signals.pop(0))
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            self._hear(worker)
        due = [at for at in self._restarts if at <= time.monotonic()]
        self._restarts = [at for at in self._restarts if at not in due]
        self._workers += [self._start() for _ in due]

    def _told(self, sig: int) -> None:
        if sig == signal.SIGHUP:
            for worker in self._workers:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, sig)
            return
        if not self._stopping:
            fields = {"signal": signal.Signals(sig).name, "workers": len(self._workers)}
            _log.info("the workers are told to stop", extra={"fields": fields})
            self._stop()
            return
        self._exit_code = 128 + sig
        self._kill()

    def _hear(self, worker: _Worker) -> None:
        try:
            word = worker.pipe.recv()
        except (EOFError, OSError):
            self._ended(worker)
            return
        if word is not None:
            self._newest = word
            return
        worker.served = True
        if not self._announced:
            self._announced = True
            self._announce()

    def _ended(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if self._stopping:
            return
        code = worker.process.exitcode or 0
        fields = {"pid": worker.process.pid, "exit_code": code}
        if code > 0 and not self._announced:
            _log.error("a worker could not start", extra={"fields": fields})
            self._exit_code = code
            self._stop()
            return
        _log.error("a worker died and is replaced", extra={"fields": fields})
        self._restarts.append(worker.started + RESTART_INTERVAL_S)

    def _stop(self) -> None:
        self._stopping = True
        self._listener.close()
        self._restarts.clear()
        for worker in self._workers:
            worker.process.terminate()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_be_worker, args=(self._work, theirs, self._newest)
        )
        # A Ctrl+C reaches the whole process group, and a worker that still imports would print a
        # traceback. A SIGHUP would kill a worker that has not yet set its handler. So both are
        # blocked while it starts; the supervisor tells it of the end. The first start would launch
        # the resource tracker, which unblocks SIGINT again, so that is launched before.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        theirs.close()
        return _Worker(process, ours, time.monotonic())


def _be_worker(work: Work, pipe: connection.Connection, newest: object | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A SIGHUP that is lost here does no harm: a worker that starts reads the settings once more.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    threading.Thread(target=_end_with_supervisor, args=(pipe,), daemon=True).start()
    work(Report(pipe), newest)


def _end_with_supervisor(pipe: connection.Connection) -> None:
    """End this worker when its supervisor ends. Otherwise it would hold the port forever."""
    try:
        pipe.recv_bytes()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _signals_to(received: list[int]) -> Iterator[socket.socket]:
    """Put SIGTERM, SIGINT and SIGHUP into ``received``. Each makes the socket readable."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        handlers = {
            sig: signal.signal(sig, lambda sig, _: received.append(sig))
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            yield reader
        finally:
            for sig, handler in handlers.items():
                signal.signal(sig, handler)
            signal.set_wakeup_fd(before)


@contextmanager
def _fresh_metrics_folder() -> Iterator[None]:
    """A folder for the metrics of all workers, new for each run: it must not add up with an earlier
    one."""
    before = os.environ.get(MULTIPROCESS_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="bon-gateway-metrics-") as folder:
        os.environ[MULTIPROCESS_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[MULTIPROCESS_VARIABLE]
            else:
                os.environ[MULTIPROCESS_VARIABLE] = before
