"""The queue in front of the model, and the task that feeds the model.

A batch starts as soon as the model is idle; nothing waits for company. `scheduling` decides what
the batch holds. The model runs in a thread of its own, so the event loop never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from reward_server.errors import (
    BatchMemoryError,
    DrainingError,
    ModelFailureError,
    QueueFullError,
    ScoreError,
    TooManySequencesError,
    TooManyTokensError,
)
from reward_server.metrics import ModelMetrics
from reward_server.model_settings import ModelSettings
from reward_server.network.forward import Forward, Work
from reward_server.network.sequence import Ids, Rendered
from reward_server.scoring.scheduling import (
    PASSED_OVER,
    Batch,
    QueuedPrompt,
    ScoreJob,
    Sizes,
    next_batch,
    queued_prompts,
)

logger = logging.getLogger("reward_server.batcher")


CPU_SLICE, DEVICE_SLICE = 256, 4096
"""By default the least tokens of a large request in one batch. Fewer waste what the device can
do."""


class Batcher:
    """Bounded queue in front of one model.

    `start` it on the event loop that submits; `close` drains what waits.
    """

    def __init__(
        self, forward: Forward, settings: ModelSettings, metrics: ModelMetrics, *, device: str
    ) -> None:
        self._forward = forward
        self._prompts = forward.prompts
        self._budget = settings.max_batch_tokens
        self._settings = settings
        self._slice = settings.slice_tokens or (CPU_SLICE if device == "cpu" else DEVICE_SLICE)
        self._metrics = metrics
        self._jobs: dict[ScoreJob, None] = {}  # in the order of arrival
        self._reserved = 0
        self._sizes = Sizes()
        self._passed_over = 0
        """Number of batches in a row without the oldest request."""
        self._wake = asyncio.Event()
        self._closing = False
        self._pump: asyncio.Task[None] | None = None
        self._thread: Executor | None = None
        self._own_thread: Executor | None = None
        metrics.batch_budget_tokens.set(self._budget)

    async def start(self, thread: Executor | None = None) -> None:
        """Run the model in `thread`, or in one of its own."""
        if thread is None:
            thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reward-model")
            self._own_thread = thread
        self._thread = thread
        self._pump = asyncio.create_task(self._run(), name="reward-batcher")

    async def close(self) -> None:
        """Refuse what comes, finish what waits, and release the thread."""
        self._closing = True
        self._wake.set()
        if self._pump is not None:
            await self._pump
        if self._own_thread is not None:
            self._own_thread.shutdown()

    @property
    def waiting(self) -> int:
        """Sequences in the queue, reserved places included."""
        return sum(job.waiting for job in self._jobs) + self._reserved

    @property
    def waiting_tokens(self) -> int:
        """Tokens to be computed for what is in the queue."""
        return sum(job.tokens for job in self._jobs)

    @contextmanager
    def reserve(self, sequences: int) -> Iterator[None]:
        """Hold places in the queue for sequences that are still being prepared.

        Raises QueueFullError when they do not fit now, TooManySequencesError when they never will,
        and DrainingError after `close`.
        """
        if self._closing:
            raise DrainingError("the server is shutting down")
        capacity = self._settings.max_queue_sequences
        if sequences > capacity:
            raise TooManySequencesError(
                f"{sequences} completions in one request; the limit is {capacity}", param="items"
            )
        if self.waiting + sequences > capacity:
            raise QueueFullError(
                f"{self.waiting} sequences are waiting; the queue holds {capacity}",
                retry_after_s=self._sizes.retry_after(self.waiting_tokens),
            )
        self._reserved += sequences
        self._show_depth()
        try:
            yield
        finally:
            self._reserved -= sequences
            self._show_depth()

    async def submit(
        self, sequences: Sequence[Rendered], request_id: str | None = None
    ) -> ScoreJob:
        """Score sequences for which places were reserved just before; their outputs may be NaN.

        A cancelled call takes its waiting sequences out of the queue. Raises QueueFullError or
        TooManyTokensError when they are too long together, and ModelFailureError or
        BatchMemoryError when the model failed on one of them.
        """
        loop = asyncio.get_running_loop()
        parts = queued_prompts(sequences, self._prompts)
        job = ScoreJob(sequences, parts, [()] * len(sequences), loop.create_future(), request_id)
        self._sizes.add(job.tokens)
        since = time.monotonic()
        await self._wait(job)
        job.queue_s = max(time.monotonic() - since - job.model_s, 0.0)
        self._metrics.queue_seconds.observe(job.queue_s)
        return job

    async def prime(self, prompt: Ids, request_id: str | None = None) -> bool:
        """Compute a prompt for candidates to come; returns False where it cannot be kept.

        A cancelled call takes its waiting work out of the queue. Raises what `submit` raises.
        """
        if self._prompts is None or not self._prompts.keeps(len(prompt)):
            return False
        loop = asyncio.get_running_loop()
        known = self._prompts.known(prompt)
        if known == len(prompt):
            return True
        part = QueuedPrompt(prompt, deque(), known)
        await self._wait(ScoreJob((), deque([part]), [], loop.create_future(), request_id))
        return True

    def expire(self) -> None:
        """Drop prompts that were not used for too long."""
        if self._prompts is not None:
            self._prompts.expire()
        self._show_kept()

    async def _wait(self, job: ScoreJob) -> None:
        self._refuse_tokens(job.tokens)
        self._jobs[job] = None
        self._wake.set()
        self._show_depth()
        try:
            await job.done
        finally:
            self._jobs.pop(job, None)
            self._show_depth()

    def _refuse_tokens(self, tokens: int) -> None:
        capacity, waiting = self._settings.max_queue_tokens, self.waiting_tokens
        if tokens > capacity:
            raise TooManyTokensError(
                f"{tokens} tokens in one request; the limit is {capacity}", param="items"
            )
        if waiting + tokens > capacity:
            raise QueueFullError(
                f"{waiting} tokens are waiting; the queue holds {capacity}",
                retry_after_s=self._sizes.retry_after(waiting),
            )

    async def _run(self) -> None:
        while True:
            batch = self._take()
            if batch.jobs:
                await self._score(batch)
            elif self._closing:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> Batch:
        """The next batch. Drops jobs that failed or were cancelled, with all that waits of them."""
        for job in [job for job in self._jobs if job.done.done()]:
            del self._jobs[job]
        oldest = next(iter(self._jobs), None)
        batch = next_batch(
            self._jobs,
            self._prompts,
            budget=self._budget,
            cut=self._sizes.slice(self._slice, self._budget),
            oldest_leads=self._passed_over >= PASSED_OVER,
        )
        self._passed_over = 0 if oldest is None or oldest in batch.jobs else self._passed_over + 1
        for job in batch.jobs:
            if not job.parts:
                del self._jobs[job]
        self._show_depth()
        return batch

    async def _score(self, batch: Batch) -> None:
        """Run a batch. If the model fails on several jobs, try each alone, so that only those fail
        that the model cannot take."""
        error = await self._try(batch)
        if error is None or len(batch.jobs) == 1:
            for job in batch.jobs:
                _settle(job, error)
            return
        for job in batch.jobs:
            if not job.done.done():
                _settle(job, await self._try(batch.only(job)))

    async def _try(self, batch: Batch) -> ScoreError | None:
        """Put the model's outputs into the jobs, or return how it failed."""
        if not batch.entries and not batch.prefixes:  # prompts that were computed meanwhile
            return None
        sequences = [job.sequences[place] for job, place in batch.entries]
        prefixes = [prefix for _, prefix in batch.prefixes]
        started = time.monotonic()
        error: ScoreError | None = None
        try:
            work = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._compute, sequences, prefixes, batch.request_ids
            )
            if len(work.outputs) != len(sequences):
                raise ValueError(f"{len(work.outputs)} outputs for {len(sequences)} sequences")
        except BatchMemoryError as caught:
            error = caught
        except Exception as caught:  # the one capture point: the server lives on
            fields = {
                "request_ids": batch.request_ids,
                "sequences": len(sequences),
                "error": type(caught).__name__,
            }
            logger.error("the model failed", exc_info=caught, extra={"fields": fields})
            error = ModelFailureError(f"the model failed: {type(caught).__name__}")
        else:
            for (job, place), output in zip(batch.entries, work.outputs, strict=True):
                job.outputs[place] = output
            seconds = time.monotonic() - started
            self._sizes.took(seconds, work.tokens, cut=batch.cut)
            self._observe(work, seconds, len(sequences))
        for job in batch.jobs:
            job.model_s += time.monotonic() - started
        return error

    def _compute(self, batch: list[Rendered], prefixes: list[Ids], request_ids: list[str]) -> Work:
        """Run in the model's thread; out of memory once halves the budget and tries again.

        The budget stays halved, unless a lone sequence was too much: then a smaller budget would
        not have helped.
        """
        try:
            return self._forward(batch, self._budget, prefixes)
        except BatchMemoryError as error:
            self._metrics.out_of_memory.inc()
            if len(batch) + len(prefixes) > 1:
                self._budget = max(self._budget // 2, 1)
                self._metrics.batch_budget_tokens.set(self._budget)
            fields = {
                "request_ids": request_ids,
                "reason": error.message,
                "budget_tokens": self._budget,
            }
            logger.warning("out of memory", extra={"fields": fields})
        # Outside the handler: the exception would keep the failed call's tensors alive.
        try:
            return self._forward(batch, self._budget, prefixes)
        except BatchMemoryError:
            self._metrics.out_of_memory.inc()
            raise

    def _observe(self, work: Work, seconds: float, sequences: int) -> None:
        self._metrics.sequences.inc(sequences)
        self._metrics.tokens.inc(work.tokens)
        self._metrics.tokens_reused.inc(work.reused)
        self._metrics.prefix_lookups.inc(work.lookups)
        self._metrics.prefix_hits.inc(work.hits)
        self._show_kept()
        self._metrics.forwards.inc(work.calls)
        self._metrics.batch_sequences.observe(sequences)
        self._metrics.batch_tokens.observe(work.tokens)
        self._metrics.batch_fill_ratio.observe(work.tokens / max(work.positions, 1))
        self._metrics.model_seconds.observe(seconds)

    def _show_kept(self) -> None:
        entries, size = (0, 0) if self._prompts is None else self._prompts.size()
        self._metrics.prefix_entries.set(entries)
        self._metrics.prefix_bytes.set(size)

    def _show_depth(self) -> None:
        self._metrics.queue_sequences.set(self.waiting)
        self._metrics.queue_tokens.set(self.waiting_tokens)


def _settle(job: ScoreJob, error: ScoreError | None) -> None:
    """Finish a job that failed or is complete.

    Each job gets an exception of its own: raising a shared one again and again would make its
    traceback grow.
    """
    if job.done.done():
        return
    if isinstance(error, BatchMemoryError):
        job.done.set_exception(BatchMemoryError(error.message))
    elif error is not None:
        job.done.set_exception(ModelFailureError(error.message))
    elif not job.parts:
        job.done.set_result(None)
