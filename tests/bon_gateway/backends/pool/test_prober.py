"""Replicas that are up are asked how they are, and get no new request when they say so."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from aiohttp import web

from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion, RewardRequest
from tests.bon_gateway.backends.support import (
    MESSAGES,
    after_warm_up,
    chat,
    draw,
    policy,
    reward_server,
    started,
    vllm_classify,
)
from tests.waiting import until


def name(upstream: FakeUpstream) -> str:
    return f"127.0.0.1:{upstream.port}"


async def test_one_that_drains_gets_nothing_new_and_ends_what_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gate = asyncio.Event()
    async with FakeUpstream() as drains, FakeUpstream() as stays:
        backend = policy(drains, stays)
        async with started(backend):
            after_warm_up(drains, Step(hold=gate))
            running = [asyncio.create_task(draw(backend, chat(), range(3))) for _ in range(2)]
            await until(lambda: drains.running == 3)
            drains.healthy = False
            await until(lambda: backend.health()[name(drains)] == "unready")
            stays.requests = 0
            for _ in range(4):
                outcome = (await draw(backend, chat(), [0]))[0]
                assert isinstance(outcome, Completion)
            assert (drains.requests, stays.requests) == (3, 4)
            gate.set()
            for outcomes in await asyncio.gather(*running):
                assert all(isinstance(outcome, Completion) for outcome in outcomes.values())
            assert backend.health() == {name(drains): "unready", name(stays): "up"}
            drains.healthy = True
            await until(lambda: backend.health()[name(drains)] == "up")
            # The warm-up call.
            assert drains.requests == 4
    told = [record.getMessage() for record in caplog.records if name(drains) in record.getMessage()]
    assert told == [
        f"Upstream {name(drains)} is up",
        f"Upstream {name(drains)} is unready: its health is 503",
        f"Upstream {name(drains)} is up",
    ]


@pytest.mark.parametrize("backend_of", [reward_server, vllm_classify])
async def test_a_reward_model_that_drains_is_not_asked(backend_of: object) -> None:
    assert callable(backend_of)
    async with FakeUpstream() as drains, FakeUpstream() as stays:
        backend = backend_of(drains, stays)
        async with started(backend):
            drains.healthy = False
            await until(lambda: backend.health()[name(drains)] == "unready")
            drains.requests = stays.requests = 0
            for _ in range(3):
                await backend.score(
                    RewardRequest(MESSAGES), [{"role": "assistant", "content": "x"}]
                )
            assert (drains.requests, stays.requests) == (0, 3)


async def test_one_that_is_gone_is_ejected_without_any_call() -> None:
    async with FakeUpstream() as gone:
        backend = policy(gone, failures_to_eject=100)
        async with started(backend):
            await gone.stop()
            await until(lambda: not backend.ready())
            assert backend.health() == {name(gone): "ejected"}


async def test_one_that_only_says_nothing_is_ejected_after_several_checks() -> None:
    async with FakeUpstream() as hangs:
        backend = policy(hangs, connect_timeout_s=0.3, failures_to_eject=3)
        async with started(backend):
            hangs.probe_hold = asyncio.Event()
            hangs.probes = 0
            await until(lambda: not backend.ready())
            assert hangs.probes == 3
            assert backend.health() == {name(hangs): "ejected"}


async def test_one_that_is_too_busy_to_say_how_it_is_stays_while_it_works() -> None:
    async with FakeUpstream() as busy:
        backend = policy(busy, connect_timeout_s=0.2, failures_to_eject=3)
        async with started(backend):
            busy.probe_hold = asyncio.Event()
            busy.probes = 0
            while busy.probes < 5:
                outcome = (await draw(backend, chat(), [0]))[0]
                assert isinstance(outcome, Completion)
                assert backend.ready()


async def test_one_that_says_how_it_is_now_and_then_stays(caplog: pytest.LogCaptureFixture) -> None:
    class Laconic(FakeUpstream):
        """Every third check is answered."""

        async def _get(self, request: web.BaseRequest) -> web.Response:
            self.probe_hold = asyncio.Event() if self.probes % 3 else None
            return await super()._get(request)

    async with Laconic() as fake:
        backend = policy(fake, connect_timeout_s=0.4, failures_to_eject=3)
        async with started(backend):
            await until(lambda: fake.probes > 9)
    assert "ejected" not in caplog.text


async def test_an_ejected_replica_rests_for_an_interval() -> None:
    async with FakeUpstream() as fake:
        backend = policy(fake, failures_to_eject=1, probe_interval_s=0.5)
        async with started(backend):
            fake.probes = 0
            await until(lambda: fake.probes == 1)
            # The next check would be due in a moment.
            await asyncio.sleep(0.4)
            after_warm_up(fake, Step(status=500, error="boom"))
            await draw(backend, chat(), [0])
            (replica,) = backend._pool._replicas
            probes = fake.probes
            await until(lambda: fake.probes > probes)
            assert replica.ejected_at + 0.5 <= time.monotonic()


async def test_one_that_is_slow_to_say_how_it_is_comes_last() -> None:
    async with FakeUpstream() as slow, FakeUpstream() as quick:
        backend = policy(slow, quick, connect_timeout_s=0.5, failures_to_eject=1000)
        async with started(backend):
            slow.probe_hold = asyncio.Event()
            slow.probes = 0
            await until(lambda: slow.probes >= 2)
            slow.requests = quick.requests = 0
            for _ in range(4):
                await draw(backend, chat(), [0])
            assert (slow.requests, quick.requests) == (0, 4)


async def test_health_checks_keep_no_connection_open() -> None:
    async with FakeUpstream() as fake:
        backend = policy(fake)
        async with started(backend):
            await until(lambda: fake.connections == 0)
            probes = fake.probes
            await until(lambda: fake.probes >= probes + 3)
            await until(lambda: fake.connections == 0)
