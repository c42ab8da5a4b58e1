"""VllmPolicy with a watch: candidates are shown while they grow, and each can be stopped alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bon_gateway.protocols import Trace
from bon_gateway.testing.script import Step, by_candidate, fake_tokens
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion, Sample
from tests.bon_gateway.backends.support import after_warm_up, chat, draw, policy, started
from tests.bon_gateway.watches import StoppingWatch
from tests.waiting import until

fan_outs = pytest.mark.parametrize("fan_out", ["together", "separate"])


@fan_outs
async def test_candidates_are_shown_at_checkpoints(upstream: FakeUpstream, fan_out: str) -> None:
    watch = StoppingWatch((4, 10, 40, 90))
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        after_warm_up(upstream, Step(tokens=80))
        asked, trace = chat(seed=7), Trace(watch=watch)
        outcomes = await draw(backend, asked, range(2), trace=trace, count_tokens=True)
        plain = await draw(backend, asked, range(2))
    for index in range(2):
        words = fake_tokens(7 + index, 80)
        # The first token, and then every 16: two checkpoints are passed at a time.
        assert watch.texts(index) == {10: "".join(words[:17]), 40: "".join(words[:49])}
        outcome, other = outcomes[index], plain[index]
        assert isinstance(outcome, Completion)
        assert isinstance(other, Completion)
        assert outcome.message == other.message
    assert watch.begun == [0, 1]
    assert all(message["role"] == "assistant" for message in watch.shown[0].values())


@fan_outs
async def test_a_stopped_candidate_closes_its_connection_and_others_end(
    upstream: FakeUpstream, fan_out: str
) -> None:
    watch = StoppingWatch((16,))
    trace = Trace(watch=watch, count_tokens=True)
    backend = policy(upstream, fan_out=fan_out)
    samples: list[Sample] = []
    async with started(backend):
        after_warm_up(upstream, by_candidate({1: Step(tokens=1000, hang_after=33)}))
        drawing = asyncio.create_task(backend.sample(chat(), range(3), trace, samples.append))
        # Its stream has come to a halt, so nothing but the stop can end it.
        await until(lambda: trace.tokens.get(1) == 33 and len(samples) == 2)
        (replica,) = backend._pool._replicas
        assert replica.in_flight == 1
        watch.stops[1]()
        assert replica.in_flight == 0
        await asyncio.wait_for(drawing, 30)
        await until(lambda: upstream.aborted == 1)
        assert upstream.running == 0
        assert upstream.requests == 3
        # The replica is not to blame.
        assert set(backend.health().values()) == {"up"}
        after_warm_up(upstream, Step())
        outcomes = await draw(backend, chat(), range(2))
    assert sorted(sample.index for sample in samples) == [0, 2]
    assert all(isinstance(sample.outcome, Completion) for sample in samples)
    assert trace.tokens[1] == 33
    assert sorted(outcomes) == [0, 1]


async def test_the_only_candidate_may_be_stopped(upstream: FakeUpstream) -> None:
    watch = StoppingWatch((16,), stop_at={0: 16})
    backend = policy(upstream)
    samples: list[Sample] = []
    async with started(backend):
        after_warm_up(upstream, Step(tokens=1000, hang_after=33))
        trace = Trace(watch=watch, count_tokens=True)
        await asyncio.wait_for(backend.sample(chat(), [0], trace, samples.append), 30)
    assert samples == []


async def test_a_stop_after_the_end_does_nothing(upstream: FakeUpstream) -> None:
    watch = StoppingWatch((4,))
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(tokens=8))
        trace = Trace(watch=watch)
        outcomes = await draw(backend, chat(), range(2), trace=trace, count_tokens=True)
        for stop in watch.stops.values():
            stop()
    assert sorted(outcomes) == [0, 1]


@pytest.mark.parametrize(
    "sampling",
    [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"prompt_logprobs": 1}],
)
async def test_what_is_not_streamed_is_not_shown(
    upstream: FakeUpstream, sampling: dict[str, Any]
) -> None:
    watch = StoppingWatch((4,))
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, Step(tokens=80))
        trace = Trace(watch=watch)
        await draw(backend, chat(**sampling), range(2), trace=trace, count_tokens=True)
    assert (watch.begun, watch.shown) == ([], {})


async def test_a_reasoning_parser_shows_nothing(upstream: FakeUpstream) -> None:
    watch = StoppingWatch((4,))
    backend = policy(upstream)
    details = {"completion_tokens_details": {"reasoning_tokens": 0}}
    async with started(backend):
        after_warm_up(upstream, Step(tokens=80, usage_details=details))
        await draw(backend, chat(), range(2))
        trace = Trace(watch=watch)
        await draw(backend, chat(), range(2), trace=trace, count_tokens=True)
    assert watch.begun == []
