from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reward_server.errors import (
    BatchMemoryError,
    DrainingError,
    ModelFailureError,
    QueueFullError,
    TooManySequencesError,
    TooManyTokensError,
)
from reward_server.metrics import Metrics
from reward_server.model_settings import ModelSettings
from reward_server.network.sequence import Rendered
from reward_server.scoring.batcher import Batcher
from reward_server.scoring.scheduling import ScoreJob
from reward_server.testing import FakeForward
from tests.waiting import eventually


def sequences(*lengths: int) -> list[Rendered]:
    return [Rendered((0,) * length, 0) for length in lengths]


def by_length(sequence: Rendered) -> float:
    return float(len(sequence.ids))


class Bench:
    """A started batcher over a fake model that can be held."""

    def __init__(
        self,
        budget: int = 100,
        capacity: int = 50,
        queue_tokens: int = 10_000,
        slice_tokens: int | None = None,
        *,
        shares_prompts: bool = False,
    ) -> None:
        self.metrics = Metrics()
        self.forward = FakeForward(by_length, shares_prompts=shares_prompts)
        self.batcher = Batcher(
            self.forward,
            # Smaller than an operator may set them.
            ModelSettings.model_construct(
                model="rm",
                max_batch_tokens=budget,
                slice_tokens=slice_tokens or budget,
                max_queue_sequences=capacity,
                max_queue_tokens=queue_tokens,
            ),
            self.metrics.of("rm"),
            device="cpu",
        )

    def submit(self, *lengths: int) -> asyncio.Task[ScoreJob]:
        return asyncio.create_task(self.batcher.submit(sequences(*lengths)))

    async def occupy(self) -> asyncio.Task[ScoreJob]:
        """Put the model to work until the gate is opened."""
        self.forward.gate.clear()
        task = self.submit(1)
        await eventually(lambda: bool(self.forward.batches))
        return task

    @property
    def batch_lengths(self) -> list[list[int]]:
        return [[len(s.ids) for s in batch] for batch in self.forward.batches]

    def count(self, name: str) -> float:
        found = self.metrics.registry.get_sample_value(f"reward_server_{name}", {"model": "rm"})
        return found or 0.0


def rewards(scored: ScoreJob) -> list[float]:
    return [output[0] for output in scored.outputs]


@asynccontextmanager
async def bench(*limits: int, **more: Any) -> AsyncIterator[Bench]:
    made = Bench(*limits, **more)
    await made.batcher.start()
    try:
        yield made
    finally:
        made.forward.gate.set()
        await made.batcher.close()


async def test_rewards_come_back_in_order() -> None:
    async with bench() as b:
        scored = await b.batcher.submit(sequences(3, 1, 2))
        assert rewards(scored) == [3.0, 1.0, 2.0]
        assert scored.model_s > 0


async def test_a_lone_request_does_not_wait_for_company() -> None:
    async with bench() as b:
        await asyncio.wait_for(b.batcher.submit(sequences(1)), 1)


async def test_what_waits_is_joined_smallest_first_up_to_the_budget() -> None:
    async with bench(budget=10) as b:
        first = await b.occupy()
        waiting = [b.submit(4), b.submit(3, 3), b.submit(5), b.submit(20), b.submit(1)]
        await asyncio.sleep(0)
        b.forward.gate.set()
        results = await asyncio.gather(first, *waiting)
        assert b.batch_lengths == [[1], [1, 4, 5], [3, 3], [20]]
        found = [rewards(r) for r in results]
        assert found == [[1.0], [4.0], [3.0, 3.0], [5.0], [20.0], [1.0]]


async def test_a_large_request_comes_to_its_end_under_any_load() -> None:
    async with bench(budget=10) as b:
        first = await b.occupy()
        large = b.submit(10, 10, 10)
        small = [b.submit(9) for _ in range(40)]
        await asyncio.sleep(0)
        b.forward.gate.set()
        await asyncio.gather(first, large, *small)
        places = [i for i, lengths in enumerate(b.batch_lengths) if 10 in lengths]
        assert places == [4, 8, 12], "after three batches without it the oldest leads"


async def test_the_queue_is_bounded_in_tokens() -> None:
    async with bench(queue_tokens=20) as b:
        first = await b.occupy()
        waiting = b.submit(15)
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as caught:
            await b.submit(6)
        assert 1 <= caught.value.retry_after_s <= 60
        with pytest.raises(TooManyTokensError):
            await b.submit(11, 10)
        assert b.count("queue_tokens") == 15
        fits = b.submit(5)
        await asyncio.sleep(0)
        b.forward.gate.set()
        await asyncio.gather(first, waiting, fits)
        assert b.count("queue_tokens") == 0


async def test_what_the_model_cannot_take_costs_nobody_else_a_reward() -> None:
    async with bench() as b:
        first = await b.occupy()
        b.forward.failures = [ValueError("the first batch"), ValueError("both"), ValueError("one")]
        two = [b.submit(2), b.submit(3)]
        await asyncio.sleep(0)
        b.forward.gate.set()
        results = await asyncio.gather(first, *two, return_exceptions=True)
        assert isinstance(results[0], ModelFailureError)
        assert isinstance(results[1], ModelFailureError)
        assert isinstance(results[2], ScoreJob)
        assert rewards(results[2]) == [3.0]
        assert b.batch_lengths == [[1], [2, 3], [2], [3]]


async def test_a_prompt_is_computed_ahead_once() -> None:
    async with bench(shares_prompts=True) as b:
        prompt = tuple(range(30))
        assert await b.batcher.prime(prompt)
        assert b.forward.prefixes == [[prompt]]
        assert await b.batcher.prime(prompt), "nothing is left to do"
        assert len(b.forward.batches) == 1
        await b.batcher.submit([Rendered((*prompt, 1, 2), 30)])
        assert b.count("tokens_total") == 32
        assert (b.count("prefix_entries"), b.count("prefix_bytes")) == (1, 30)


async def test_a_prompt_that_would_not_be_kept_is_not_computed_ahead() -> None:
    async with bench() as b:
        assert not await b.batcher.prime((1, 2, 3))
        assert b.forward.batches == []


async def test_an_announcement_that_is_withdrawn_leaves_the_queue() -> None:
    async with bench(shares_prompts=True) as b:
        first = await b.occupy()
        announced = asyncio.create_task(b.batcher.prime((5,) * 20))
        await asyncio.sleep(0)
        assert b.batcher.waiting == 1
        announced.cancel()
        await asyncio.wait([announced])
        assert b.batcher.waiting == 0
        b.forward.gate.set()
        await first
        assert b.forward.prefixes == [[]]


async def test_a_request_may_be_spread_over_batches() -> None:
    async with bench(budget=10) as b:
        assert rewards(await b.batcher.submit(sequences(6, 7, 8))) == [6.0, 7.0, 8.0]
        assert b.batch_lengths == [[6], [7], [8]]


async def test_cancelled_work_leaves_the_queue() -> None:
    async with bench() as b:
        first = await b.occupy()
        left, kept = b.submit(7, 7), b.submit(5)
        await asyncio.sleep(0)
        assert b.batcher.waiting == 3
        assert b.count("queue_sequences") == 3
        left.cancel()
        await asyncio.wait([left])
        assert b.batcher.waiting == 1
        assert b.count("queue_sequences") == 1
        b.forward.gate.set()
        await asyncio.gather(first, kept)
        assert b.batch_lengths == [[1], [5]]


async def test_work_cancelled_while_it_runs_harms_nobody() -> None:
    async with bench() as b:
        first = await b.occupy()
        first.cancel()
        await asyncio.wait([first])
        b.forward.gate.set()
        assert rewards(await b.batcher.submit(sequences(2))) == [2.0]


async def test_the_queue_is_bounded() -> None:
    async with bench(capacity=4) as b:
        first = await b.occupy()
        with b.batcher.reserve(3):
            waiting = b.submit(1)
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError) as caught, b.batcher.reserve(1):
                pass
            assert 1 <= caught.value.retry_after_s <= 60
        with b.batcher.reserve(3):
            assert b.batcher.waiting == 4
        b.forward.gate.set()
        await asyncio.gather(first, waiting)
        assert b.batcher.waiting == 0


async def test_a_request_larger_than_the_queue_can_never_succeed() -> None:
    async with bench(capacity=4) as b:
        with pytest.raises(TooManySequencesError), b.batcher.reserve(5):
            pass


async def test_a_failing_model_fails_its_batch_only() -> None:
    async with bench(budget=10) as b:
        b.forward.failures = [ValueError("broken")]
        with pytest.raises(ModelFailureError, match="ValueError"):
            await b.batcher.submit(sequences(8, 8))
        assert rewards(await b.batcher.submit(sequences(3))) == [3.0]
        assert b.batch_lengths == [[8], [3]], "the failed request's rest was computed"


async def test_a_forward_that_loses_a_reward_fails_its_batch() -> None:
    async with bench() as b:
        b.forward.lost = 1
        with pytest.raises(ModelFailureError):
            await b.batcher.submit(sequences(1, 2))
        b.forward.lost = 0
        assert rewards(await b.batcher.submit(sequences(3))) == [3.0]


async def test_running_out_of_memory_halves_the_budget_and_tries_again() -> None:
    async with bench(budget=100) as b:
        b.forward.failures = [BatchMemoryError("full")]
        assert rewards(await b.batcher.submit(sequences(10, 20))) == [10.0, 20.0]
        assert b.forward.budgets == [100, 50]
        assert b.count("out_of_memory_total") == 1
        assert b.count("batch_budget_tokens") == 50


async def test_running_out_of_memory_twice_fails_the_batch() -> None:
    async with bench() as b:
        b.forward.failures = [BatchMemoryError("full"), BatchMemoryError("full")]
        with pytest.raises(BatchMemoryError):
            await b.batcher.submit(sequences(1, 1))
        assert b.count("out_of_memory_total") == 2
        assert rewards(await b.batcher.submit(sequences(1))) == [1.0]


async def test_one_sequence_too_large_says_nothing_about_the_budget() -> None:
    async with bench(budget=100) as b:
        b.forward.failures = [BatchMemoryError("full")]
        await b.batcher.submit(sequences(90))
        assert b.forward.budgets == [100, 100]


async def test_the_loop_is_free_while_the_model_works() -> None:
    async with bench() as b:
        first = await b.occupy()
        turns = 0
        end = asyncio.get_running_loop().time() + 0.05
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50
        b.forward.gate.set()
        await first


async def test_closing_finishes_what_waits_and_refuses_what_comes() -> None:
    async with bench(budget=5) as b:
        first = await b.occupy()
        waiting = [b.submit(4), b.submit(5)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(b.batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(DrainingError), b.batcher.reserve(1):
            pass
        b.forward.gate.set()
        await closing
        assert [rewards(r) for r in await asyncio.gather(first, *waiting)] == [[1.0], [4.0], [5.0]]


async def test_the_metrics_tell_what_was_computed() -> None:
    async with bench() as b:
        await b.batcher.submit(sequences(3, 4))
        names: Sequence[str] = ("sequences_total", "tokens_total", "forwards_total")
        assert [b.count(name) for name in names] == [2, 7, 1]
        assert b.count("batch_sequences_sum") == 2
        assert b.count("batch_fill_ratio_sum") == 1.0
        assert b.count("queue_seconds_count") == 1
