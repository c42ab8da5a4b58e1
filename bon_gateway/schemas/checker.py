"""Asks the checking process, and ends it if it takes too long.

There is at most one process, started when it is first needed, so hostile schemas can take one core
and no more. It works on one job at a time. Jobs that wait too long are given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import bon_gateway
from bon_gateway.schemas.worker import JOB, READY, REPLY

ROOT = Path(bon_gateway.__file__).parents[1]
START_S = 10.0
"""Seconds that the process may take to start."""
END_S = 1.0
"""Seconds that a process which closed its output may take to end before it is killed."""
WALL_FACTOR = 8
"""Wall time per CPU time that a job may take. The process itself is limited in CPU time, and on a
busy machine its jobs take longer."""
WAIT_S = 4.0
"""Seconds that a job may take, including its time in the queue."""
MOST_WAITING = 256


class GaveUpError(Exception):
    """The job was not done. ``own_fault``: the job itself took too much. Otherwise it waited too
    long behind others, or there is no process."""

    def __init__(self, reason: str, *, own_fault: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.own_fault = own_fault


Reply = tuple[bytes, str]
"""One of the worker's codes, and the reason of a refusal."""


@dataclass(frozen=True, slots=True)
class _Queued:
    data: tuple[bytes, ...]
    reply: asyncio.Future[Reply]


class Checker:
    """``limit_s`` is the CPU time that one job may take."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[_Queued] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def ask(self, schema: bytes, answer: bytes | None) -> Reply:
        """Ask whether ``answer`` fits ``schema``; with None, whether ``schema`` is a schema at all.
        Raises GaveUpError. Cancelling it disturbs no other job."""
        if self._closed or len(self._waiting) >= MOST_WAITING:
            raise GaveUpError("busy", own_fault=False)
        head = JOB.pack(answer is not None, len(schema), len(answer or b""))
        job = _Queued((head, schema, answer or b""), asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._pump is None:
            self._pump = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(WAIT_S):
                return await job.reply
        except TimeoutError:
            raise GaveUpError("busy", own_fault=False) from None

    async def close(self) -> None:
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for job in self._waiting:
            job.reply.cancel()
        await self._end()

    async def _work(self) -> None:
        """Work until no job waits. Between requests there is no task."""
        try:
            while self._waiting:
                job = self._waiting.popleft()
                if job.reply.done():
                    continue
                try:
                    reply = await self._do(job)
                except GaveUpError as error:
                    await self._end()
                    if not job.reply.done():
                        job.reply.set_exception(error)
                else:
                    if not job.reply.done():
                        job.reply.set_result(reply)
        finally:
            self._pump = None

    async def _do(self, job: _Queued) -> Reply:
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._limit_s * WALL_FACTOR):
                process.stdin.writelines(job.data)
                await process.stdin.drain()
                code, size = REPLY.unpack(await process.stdout.readexactly(REPLY.size))
                reason = await process.stdout.readexactly(size)
        except TimeoutError:
            raise GaveUpError("timeout", own_fault=True) from None
        except (OSError, asyncio.IncompleteReadError):
            raise GaveUpError("limit", own_fault=True) from None
        return code, reason.decode(errors="replace")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "bon_gateway.schemas.worker", str(self._limit_s)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # A traceback might quote an answer.
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                # A terminal's interrupt is meant for the gateway, which then ends this process.
                start_new_session=True,
            )
            assert process.stdout is not None
            async with asyncio.timeout(START_S):
                if await process.stdout.readexactly(len(READY)) == READY:
                    return process
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        raise GaveUpError("no process", own_fault=False)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdout is not None and process.stdout.at_eof():
            # It is ending. `kill` would ask the system how it ended, and asyncio, which asks too,
            # would log an unknown child process.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await process.wait()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _environment() -> dict[str, str]:
    """Only what is needed to find this package and its libraries: other variables may hold keys."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    libraries = os.environ.get("LD_LIBRARY_PATH")
    found = {} if libraries is None else {"LD_LIBRARY_PATH": libraries}
    return {"PYTHONPATH": os.pathsep.join(paths), **found}
