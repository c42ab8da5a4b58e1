"""Replicas at the addresses behind one name: how they come, and how they go."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest

from bon_gateway.backends.http.origin import KEEPALIVE_S
from bon_gateway.backends.policy.vllm.policy import VllmPolicy
from bon_gateway.backends.reward.reward_server import RewardServerBackend, RewardServerSettings
from bon_gateway.errors import PolicyOverloadedError, PolicyUnreachableError
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion, RewardRequest
from tests.bon_gateway.backends.support import (
    Names,
    after_warm_up,
    behind_one_name,
    chat,
    draw,
    policy,
    started,
)
from tests.waiting import until

ONE, TWO, THREE = HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only on Linux is all of 127.0.0.0/8 the loopback interface's"
)


def followed(names: Names, port: int, **settings: Any) -> VllmPolicy:
    urls = (f"http://generator:{port}",)
    settings = {"resolve": "addresses", "resolve_interval_s": 0.02, "urls": urls, **settings}
    return policy(look_up=names.look_up, **settings)


def name(fake: FakeUpstream) -> str:
    return f"{fake.host}:{fake.port}"


def up(*fakes: FakeUpstream) -> dict[str, str]:
    return {name(fake): "up" for fake in fakes}


async def test_each_address_is_a_replica_that_is_asked_by_the_name() -> None:
    async with behind_one_name(*HOSTS) as fakes:
        names = Names(*HOSTS)
        backend = followed(names, fakes[0].port)
        async with started(backend):
            await until(lambda: backend.health() == up(*fakes))
            for fake in fakes:
                after_warm_up(fake, Step())
            for _ in range(6):
                await draw(backend, chat(), range(4))
        assert [fake.requests for fake in fakes] == [8, 8, 8]
        hosts = {call.headers["host"] for fake in fakes for call in fake.calls}
        assert hosts == {f"generator:{fakes[0].port}"}


@pytest.mark.parametrize("fan_out", ["separate", "together"])
async def test_the_candidates_of_one_prompt_are_drawn_at_one_address(fan_out: str) -> None:
    async with behind_one_name(ONE, TWO) as fakes:
        backend = followed(Names(ONE, TWO), fakes[0].port, fan_out=fan_out)
        async with started(backend):
            await until(lambda: backend.health() == up(*fakes))
            for number in range(4):
                for fake in fakes:
                    after_warm_up(fake, Step())
                await draw(backend, chat(request_id=f"req-{number}"), range(4))
                assert sorted(fake.requests > 0 for fake in fakes) == [False, True]


async def test_a_new_address_gets_work_once_it_has_warmed_up() -> None:
    async with behind_one_name(ONE, TWO) as (old, new):
        gate = asyncio.Event()
        new.script = lambda call: Step(hold=gate)
        names = Names(ONE)
        backend = followed(names, old.port)
        async with started(backend):
            names.say(ONE, TWO)
            await until(lambda: new.running == 1)
            assert backend.health() == {name(old): "up", name(new): "warming"}
            for _ in range(4):
                await draw(backend, chat(), [0])
            assert new.requests == 1
            gate.set()
            await until(lambda: backend.health() == up(old, new))
            for _ in range(2):
                await draw(backend, chat(), [0])
            assert new.requests == 2


async def test_an_address_that_vanishes_gets_nothing_new_and_ends_what_it_has() -> None:
    async with behind_one_name(ONE, TWO) as (goes, stays):
        names = Names(ONE, TWO)
        backend = followed(names, goes.port)
        gate = asyncio.Event()
        async with started(backend):
            await until(lambda: backend.health() == up(goes, stays))
            for fake in (goes, stays):
                after_warm_up(fake, Step(hold=gate))
            running = [asyncio.create_task(draw(backend, chat(), range(3))) for _ in range(2)]
            await until(lambda: goes.running == stays.running == 3)
            after_warm_up(stays, Step())
            names.say(TWO)
            await until(lambda: backend.health()[name(goes)] == "leaving")
            goes.probes = 0
            for _ in range(4):
                await draw(backend, chat(), [0])
            assert (goes.requests, stays.requests) == (3, 4)
            await names.asked_again()
            assert backend.health() == {name(goes): "leaving", name(stays): "up"}
            gate.set()
            for outcomes in await asyncio.gather(*running):
                assert all(isinstance(outcome, Completion) for outcome in outcomes.values())
            # Dropped, with its connections and what tended it.
            await until(lambda: backend.health() == up(stays))
            await until(lambda: goes.connections == 0, within_s=KEEPALIVE_S / 2)
            assert goes.probes == 0
            assert not [task for task in asyncio.all_tasks() if name(goes) in task.get_name()]


async def test_the_last_that_is_well_stays_until_another_has_warmed_up() -> None:
    async with behind_one_name(ONE, TWO) as (old, new):
        gate = asyncio.Event()
        new.script = lambda call: Step(hold=gate)
        names = Names(ONE)
        backend = followed(names, old.port)
        async with started(backend):
            names.say(TWO)
            await until(lambda: new.running == 1)
            await names.asked_again()
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)
            assert backend.health() == {name(old): "up", name(new): "warming"}
            gate.set()
            await until(lambda: backend.health() == up(new))


async def test_a_name_without_addresses_keeps_those_that_are_well() -> None:
    async with behind_one_name(ONE, TWO) as (well, gone):
        names = Names(ONE, TWO)
        backend = followed(names, well.port)
        async with started(backend):
            await until(lambda: backend.health() == up(well, gone))
            await gone.stop()
            names.say()
            await until(lambda: backend.health() == up(well))
            await names.asked_again()
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)
            await well.stop()
            await until(lambda: backend.health() == {})
            assert not backend.ready()


async def test_a_lookup_that_fails_keeps_what_is_known() -> None:
    async with behind_one_name(ONE, TWO) as (well, gone):
        names = Names(ONE, TWO)
        backend = followed(names, well.port)
        async with started(backend):
            await until(lambda: backend.health() == up(well, gone))
            names.error = socket.gaierror(socket.EAI_AGAIN, "try again")
            await gone.stop()
            await until(lambda: backend.health() == {name(well): "up", name(gone): "ejected"})
            await names.asked_again()
            assert backend.health() == {name(well): "up", name(gone): "ejected"}
            await gone.start()
            await until(lambda: backend.health() == up(well, gone))


@pytest.mark.parametrize("error", [None, socket.gaierror(socket.EAI_AGAIN, "try again")])
async def test_with_no_address_at_first_it_waits_for_one(error: OSError | None) -> None:
    async with behind_one_name(ONE) as (fake,):
        names = Names()
        names.error = error
        backend = followed(names, fake.port)
        await backend.start()
        try:
            await names.asked_again()
            assert (backend.ready(), backend.warming(), backend.health()) == (False, True, {})
            outcomes = await draw(backend, chat(), range(2))
            assert all(isinstance(one, PolicyUnreachableError) for one in outcomes.values())
            names.error = None
            names.say(ONE)
            await until(backend.ready)
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)
        finally:
            await backend.close()


async def test_one_that_has_been_up_is_never_warming_again() -> None:
    """A gateway whose reward model goes down later stays ready; one that starts waits for it."""
    async with behind_one_name(ONE) as (fake,):
        names = Names(ONE)
        backend = followed(names, fake.port)
        async with started(backend):
            assert not backend.warming()
            names.say()
            await fake.stop()
            await until(lambda: backend.health() == {})
            assert not backend.warming()
            names.say(TWO)
            await until(lambda: backend.health() == {f"{TWO}:{fake.port}": "warming"})
            assert not backend.warming()


async def test_an_address_that_comes_back_while_it_leaves_is_a_new_replica() -> None:
    async with behind_one_name(ONE, TWO) as (returns, stays):
        names = Names(ONE, TWO)
        backend = followed(names, returns.port)
        gate = asyncio.Event()
        async with started(backend):
            await until(lambda: backend.health() == up(returns, stays))
            after_warm_up(returns, Step(hold=gate))
            running = [asyncio.create_task(draw(backend, chat(), [0])) for _ in range(2)]
            await until(lambda: returns.running == 1)
            names.say(TWO)
            await until(lambda: backend.health()[name(returns)] == "leaving")
            after_warm_up(returns, Step())
            names.say(ONE, TWO)
            await until(lambda: backend.health() == up(returns, stays))
            for _ in range(2):
                await draw(backend, chat(), [0])
            assert returns.requests == 2  # the warm-up call, and one of the two
            gate.set()
            await asyncio.gather(*running)
            await asyncio.sleep(0)
            assert backend.health() == up(returns, stays)


async def test_closing_does_not_wait_for_what_leaves() -> None:
    async with behind_one_name(ONE, TWO) as (goes, stays):
        names = Names(ONE, TWO)
        backend = followed(names, goes.port)
        async with started(backend):
            await until(lambda: backend.health() == up(goes, stays))
            after_warm_up(goes, Step(hold=asyncio.Event()))
            running = [asyncio.create_task(draw(backend, chat(), [0])) for _ in range(2)]
            await until(lambda: goes.running == 1)
            names.say(TWO)
            await until(lambda: backend.health()[name(goes)] == "leaving")
        outcomes = [next(iter(outcome.values())) for outcome in await asyncio.gather(*running)]
        assert sum(isinstance(outcome, Completion) for outcome in outcomes) == 1
        await until(lambda: not (goes.connections or stays.connections))
        assert not [task for task in asyncio.all_tasks() if f":{goes.port}" in task.get_name()]


async def test_what_one_turned_away_is_drawn_again_at_another_address() -> None:
    """One that drains may answer 503 before anybody has asked for its health."""
    async with behind_one_name(ONE, TWO) as fakes:
        backend = followed(Names(ONE, TWO), fakes[0].port, probe_interval_s=30)
        async with started(backend):
            await until(lambda: backend.health() == up(*fakes))
            for fake in fakes:
                after_warm_up(fake, Step())
            after_warm_up(fakes[0], Step(status=503, error="draining"))
            first = [(await draw(backend, chat(), [0]))[0] for _ in range(6)]
            assert sum(isinstance(one, PolicyOverloadedError) for one in first) == 1
            assert (fakes[0].requests, fakes[1].requests) == (1, 5)


@pytest.mark.parametrize("url", ["http://[::1]", "http://ip6-name"])
async def test_ipv6(url: str) -> None:
    try:
        fake = FakeUpstream(host="::1")
        await fake.start()
    except OSError:
        pytest.skip("there is no IPv6 here")
    try:
        backend = followed(Names("::1"), fake.port, urls=(f"{url}:{fake.port}",))
        async with started(backend):
            assert backend.health() == {f"[::1]:{fake.port}": "up"}
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)
            assert fake.calls[-1].headers["host"] == f"{url.removeprefix('http://')}:{fake.port}"
    finally:
        await fake.stop()


async def test_several_names_are_followed_side_by_side() -> None:
    async with behind_one_name(ONE, TWO) as fakes:
        port = fakes[0].port

        class Two(Names):
            async def look_up(self, host: str, port: int) -> Any:
                return [one for one in await super().look_up(host, port) if host[-1] == one[1][-1]]

        names = Two(ONE, TWO)
        urls = (f"http://generator-1:{port}", f"http://generator-2:{port}")
        backend = followed(names, port, urls=urls)
        async with started(backend):
            await until(lambda: backend.health() == up(*fakes))
            names.say(TWO)
            await until(lambda: backend.health() == up(fakes[1]))


async def test_reward_servers_are_followed_too() -> None:
    async with behind_one_name(ONE, TWO) as fakes:
        names = Names(ONE)
        settings = RewardServerSettings(
            type="reward_server",
            urls=(f"http://rewards:{fakes[0].port}",),
            resolve="addresses",
            resolve_interval_s=0.02,
            probe_interval_s=0.05,
        )
        backend = RewardServerBackend(settings, None, look_up=names.look_up)
        async with started(backend):
            names.say(TWO)
            await until(lambda: backend.health() == up(fakes[1]))
            fakes[0].requests = 0
            await backend.score(
                RewardRequest([{"role": "user", "content": "x"}]), [{"content": "y"}]
            )
            assert fakes[0].requests == 0
