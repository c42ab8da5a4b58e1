"""Which replica is asked, which is ejected, and how it comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from bon_gateway.backends.http.connection import ConnectError
from bon_gateway.backends.http.faults import transport_error
from bon_gateway.backends.policy.vllm.policy import VllmPolicy, VllmPolicySettings
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.errors import (
    NoUpstreamError,
    PolicyError,
    PolicyFailedError,
    PolicyUnreachableError,
)
from bon_gateway.protocols import Trace
from bon_gateway.testing.script import Call, Step, by_ordinal
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion
from tests.bon_gateway.backends.support import after_warm_up, chat, draw, drawing, policy, started
from tests.waiting import until

DEAD_ENGINE = {
    "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "type": "InternalServerError",
    "code": 500,
}


@asynccontextmanager
async def upstreams(count: int) -> AsyncIterator[list[FakeUpstream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FakeUpstream()) for _ in range(count)]


def name(upstream: FakeUpstream) -> str:
    return f"127.0.0.1:{upstream.port}"


async def test_all_candidates_of_a_call_go_to_one_replica_and_calls_take_turns() -> None:
    async with upstreams(3) as fakes:
        backend = policy(*fakes)
        async with started(backend):
            for fake in fakes:
                fake.requests = 0
            for _ in range(6):
                await draw(backend, chat(), range(4))
                assert all(fake.requests % 4 == 0 for fake in fakes)
            assert [fake.requests for fake in fakes] == [8, 8, 8]


async def test_the_least_loaded_replica_is_asked() -> None:
    async with upstreams(2) as fakes:
        backend = policy(*fakes)
        gate = asyncio.Event()
        async with started(backend):
            for fake in fakes:
                after_warm_up(fake, Step(hold=gate))
            # Eight candidates keep one of the two busy; seven lone ones are still less.
            big = asyncio.create_task(draw(backend, chat(), range(8)))
            await until(lambda: sum(fake.running for fake in fakes) == 8)
            small = [asyncio.create_task(draw(backend, chat(), [0])) for _ in range(7)]
            await until(lambda: sum(fake.running for fake in fakes) == 15)
            assert sorted(fake.running for fake in fakes) == [7, 8]
            gate.set()
            await asyncio.gather(big, *small)


async def test_candidates_that_ended_or_were_aborted_no_longer_count() -> None:
    async with upstreams(2) as fakes:
        backend = policy(*fakes)
        async with started(backend):
            for fake in fakes:
                after_warm_up(fake, Step(hang_after=0))
            async with drawing(backend, chat(), range(5)):
                await until(lambda: sum(fake.running for fake in fakes) == 5)
            for fake in fakes:
                after_warm_up(fake, Step())
            await draw(backend, chat(), range(5))
            for _ in range(4):
                await draw(backend, chat(), [0])
            assert min(fake.requests for fake in fakes) >= 2


async def test_a_refused_connection_ejects_at_once() -> None:
    async with upstreams(1) as (gone,):
        backend = policy(gone, failures_to_eject=100, probe_interval_s=30)
        async with started(backend):
            await gone.stop()
            failed = 0
            while backend.ready():
                outcome = (await draw(backend, chat(), [0]))[0]
                failed += isinstance(outcome, PolicyUnreachableError)
            # One is refused; another may have gone to a connection that was closed under it.
            assert 1 <= failed <= 2
            assert backend.health() == {name(gone): "ejected"}


async def test_an_ejected_replica_comes_back() -> None:
    async with upstreams(2) as (gone, stays):
        backend = policy(gone, stays)
        async with started(backend):
            await gone.stop()
            await until(lambda: backend.health()[name(gone)] == "ejected")
            assert backend.health()[name(stays)] == "up"
            assert backend.ready()
            await gone.start()
            await until(lambda: backend.health()[name(gone)] == "up")
            gone.requests = 0
            await draw(backend, chat(), [0])
            await draw(backend, chat(), [0])
            assert gone.requests == 1


@pytest.mark.parametrize("count_tokens", [False, True])
async def test_a_dead_engine_ejects_at_once(count_tokens: bool) -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=100, probe_interval_s=30)
        async with started(backend):
            after_warm_up(fake, Step(status=500, error=DEAD_ENGINE))
            await draw(backend, chat(), [0], count_tokens=count_tokens)
            assert backend.health() == {name(fake): "ejected"}
            assert not backend.ready()


async def test_a_dead_engine_inside_a_stream_ejects_at_once() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=100, probe_interval_s=30)
        async with started(backend):
            after_warm_up(fake, Step(stream_error=DEAD_ENGINE))
            with pytest.raises(PolicyError):
                async for _ in backend.stream(chat(), Trace()):
                    pass
            assert backend.health() == {name(fake): "ejected"}


async def test_calls_in_a_row_without_an_answer_eject() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=3, probe_interval_s=30)
        bad = Step(cut_after=5)
        async with started(backend):
            after_warm_up(fake, by_ordinal(bad, bad, Step(), bad, bad, bad))
            states = []
            for number in range(6):
                await draw(backend, chat(request_id=f"req-{number}"), [0])
                states.append(backend.health()[name(fake)])
            assert states == ["up"] * 5 + ["ejected"]


async def test_one_request_is_blamed_once_however_often_it_is_drawn_again() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=3)
        async with started(backend):
            after_warm_up(fake, Step(status=500, error="boom"))
            for _ in range(5):
                await draw(backend, chat(request_id="poison"), [0])
            assert backend.ready()


async def test_one_that_has_just_failed_comes_last() -> None:
    """It has nothing in flight, and would lose again what it lost just now."""
    async with upstreams(2) as fakes:
        backend = policy(*fakes, failures_to_eject=3, probe_interval_s=30)
        bad, good = fakes
        async with started(backend):
            after_warm_up(bad, Step(status=500, error="boom"))
            while not bad.requests:
                await draw(backend, chat(request_id="a"), [0])
            after_warm_up(good, Step())
            for number in range(4):
                await draw(backend, chat(request_id=f"b{number}"), [0])
            assert (bad.requests, good.requests) == (1, 4)
            assert backend.health()[name(bad)] == "up"


async def test_one_that_turned_a_candidate_away_comes_last() -> None:
    async with upstreams(2) as (full, free):
        backend = policy(full, free, probe_interval_s=30)
        async with started(backend):
            after_warm_up(full, Step(status=503, error="full"))
            while not full.requests:
                await draw(backend, chat(), [0])
            after_warm_up(free, Step())
            for _ in range(4):
                await draw(backend, chat(), [0])
            assert (full.requests, free.requests) == (1, 4)
            assert backend.health()[name(full)] == "up"


async def test_one_call_of_many_candidates_is_blamed_once() -> None:
    """A request that always fails must not eject every replica that it is tried on."""
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=3)
        async with started(backend):
            after_warm_up(fake, Step(status=500, error="boom"))
            await draw(backend, chat(), range(16))
            assert backend.ready()


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_refusals_and_overload_do_not_eject(status: int) -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=1)
        async with started(backend):
            after_warm_up(fake, Step(status=status, error="no"))
            for _ in range(3):
                await draw(backend, chat(), [0])
            assert backend.ready()


async def test_with_none_up_every_candidate_fails_without_waiting() -> None:
    async with upstreams(1) as (fake,):
        fake.healthy = False
        backend = policy(fake, probe_interval_s=4.0)
        await backend.start()
        try:
            await until(lambda: fake.probes == 1)
            async with asyncio.timeout(0.2):
                outcomes = await draw(backend, chat(), range(3))
        finally:
            await backend.close()
    assert fake.requests == 0
    for outcome in outcomes.values():
        assert isinstance(outcome, PolicyUnreachableError)
        assert (outcome.code, outcome.retry_after) == ("upstream_unavailable", 4.0)


async def test_it_is_up_only_after_health_and_one_sampled_token() -> None:
    async with upstreams(1) as (fake,):
        fake.healthy = False
        gate = asyncio.Event()
        fake.script = lambda call: Step(hold=gate)
        backend = policy(fake)
        await backend.start()
        try:
            assert backend.health() == {name(fake): "warming"}
            await until(lambda: fake.probes >= 2)
            assert fake.requests == 0
            fake.healthy = True
            await until(lambda: fake.running == 1)
            assert backend.health() == {name(fake): "warming"}
            body = fake.calls[0].body
            assert (body["max_tokens"], body["temperature"], body["model"]) == (1, 1.0, "fake")
            gate.set()
            await until(backend.ready)
        finally:
            await backend.close()


async def test_an_ejected_replica_needs_a_warm_up_that_works() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=1)
        bad = Step(cut_after=5)
        async with started(backend):
            after_warm_up(fake, bad)
            await draw(backend, chat(), [0])
            probes = fake.probes
            await until(lambda: fake.probes >= probes + 2)
            assert not backend.ready()
            fake.script = None
            await until(backend.ready)
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)


async def test_a_replica_that_came_back_has_no_failures_behind_it() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=2)
        bad = Step(cut_after=5)
        async with started(backend):
            after_warm_up(fake, by_ordinal(bad, bad))
            for number in range(2):
                await draw(backend, chat(request_id=f"req-{number}"), [0])
            assert not backend.ready()
            await until(backend.ready)
            after_warm_up(fake, by_ordinal(bad))
            await draw(backend, chat(request_id="req-2"), [0])
            assert backend.ready()


async def test_one_slow_replica_does_not_keep_the_others_down() -> None:
    async with upstreams(2) as (slow, quick):
        gate = asyncio.Event()
        slow.script = lambda call: Step(hold=gate)
        backend = policy(slow, quick)
        await backend.start()
        try:
            await until(lambda: backend.health() == {name(slow): "warming", name(quick): "up"})
        finally:
            await backend.close()


@pytest.mark.parametrize(
    "models", [b"", b"[]", b"{}", b'{"data": []}', b'{"data": [1]}', b'{"data": [{"id": 1}]}']
)
async def test_nothing_that_an_upstream_says_kills_the_prober(
    models: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstreams(1) as (fake,):
        good, fake.models = fake.models, models
        backend = policy(fake)
        await backend.start()
        try:
            await until(lambda: fake.probes >= 3)
            assert not backend.ready()
            fake.models = good
            await until(backend.ready)
        finally:
            await backend.close()
    assert "Traceback" not in caplog.text


async def test_an_error_that_nobody_thought_of_does_not_kill_the_prober(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0

    class Stumbling(VllmPolicy):
        async def _warm_up(self, replica: Replica) -> None:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise ZeroDivisionError

    async with upstreams(1) as (fake,):
        settings = VllmPolicySettings(type="vllm", urls=(fake.url,), probe_interval_s=0.02)
        backend = Stumbling(settings, None)
        async with started(backend):
            assert calls == 3
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_close_ends_probers_and_connections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with upstreams(2) as fakes:
        before = asyncio.all_tasks()
        fakes[1].healthy = False
        backend = policy(*fakes)
        await backend.start()
        await until(backend.ready)
        await draw(backend, chat(), range(4))
        await backend.close()
        await until(lambda: not any(fake.connections for fake in fakes))
        assert not asyncio.all_tasks() - before
        outcomes = await draw(backend, chat(), [0])
        assert isinstance(outcomes[0], PolicyUnreachableError)


async def test_one_that_answers_with_errors_stays_up_if_its_own_call_works() -> None:
    """vLLM answers 500 to some requests that it should refuse, and is well."""
    async with upstreams(2) as fakes:
        backend = policy(*fakes, failures_to_eject=3)

        def poisoned(call: Call) -> Step:
            return Step(status=500, error="boom") if "structured_outputs" in call.body else Step()

        async with started(backend):
            for fake in fakes:
                after_warm_up(fake, poisoned)
            suspects: set[Replica] = set()
            for number in range(20):
                bad = chat(request_id=f"bad-{number}", structured_outputs=3)
                outcome = (await draw(backend, bad, [0]))[0]
                assert isinstance(outcome, PolicyFailedError)
                assert outcome.status == 502
                # Looked at each time: the prober clears it as soon as its own call has worked.
                suspects |= {replica for replica in backend._pool._replicas if replica.suspect}
            assert suspects
            await until(lambda: not any(replica.suspect for replica in suspects))
            assert set(backend.health().values()) == {"up"}
            assert isinstance((await draw(backend, chat(), [0]))[0], Completion)


async def test_one_whose_own_call_fails_too_is_ejected_and_comes_back() -> None:
    async with upstreams(2) as (bad, good):
        backend = policy(bad, good, failures_to_eject=2)
        async with started(backend):
            after_warm_up(bad, Step(status=500, error="boom"))
            (replica,) = (r for r in backend._pool._replicas if r.name == name(bad))
            for number in range(2):
                replica.blame("it failed", f"{number}", answered=True)
            await until(lambda: backend.health()[name(bad)] == "ejected")
            assert backend.health()[name(good)] == "up"
            assert backend._pool.troubles() == {name(bad): "The upstream answered 500."}
            bad.script = None
            await until(lambda: backend.health()[name(bad)] == "up")
            assert backend._pool.troubles() == {}


@pytest.mark.parametrize(("replicas", "stay"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_half_of_the_replicas_stay_whatever_they_answer(replicas: int, stay: int) -> None:
    """Errors from the last ones say more than no answer from any, and with the same status."""
    async with upstreams(replicas) as fakes:
        backend = policy(*fakes, failures_to_eject=1)
        async with started(backend):
            for fake in fakes:
                after_warm_up(fake, Step(status=500, error="boom"))
            for number in range(8 * replicas):
                outcome = (await draw(backend, chat(request_id=f"r{number}"), [0]))[0]
                assert isinstance(outcome, PolicyFailedError)
            for replica in backend._pool._replicas:
                replica.blame("it failed", "another", answered=True)
            probes = [fake.probes for fake in fakes]
            await until(lambda: all(f.probes > p + 4 for f, p in zip(fakes, probes, strict=True)))
            states = list(backend.health().values())
            assert states.count("up") == stay
            assert states.count("ejected") == replicas - stay


async def test_without_a_descriptor_no_replica_is_blamed() -> None:
    async with upstreams(1) as (fake,):
        backend = policy(fake, failures_to_eject=1)
        async with started(backend):
            (replica,) = backend._pool._replicas
            ours = transport_error(ConnectError("this process has run out: EMFILE", ours=True))

            async def get(url: object) -> bytes:
                raise ours

            failed_at = replica.failed_at
            with Lease(replica, 2, "req") as lease:
                lease.done(ours)
                lease.done(ours)
            replica.client.get = get  # type: ignore[method-assign]
            await asyncio.sleep(0.3)
            assert backend.health() == {name(fake): "up"}
            assert (replica.silences, replica.failed_at) == (0, failed_at)


async def test_why_none_comes_up_is_logged_once_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with FakeUpstream(api_key="right") as fake:
        backend = policy(fake, key="wrong")
        await backend.start()
        try:
            reason = "The upstream failed: it refused the gateway's key (401)."
            await until(lambda: backend.troubles() == {name(fake): reason})
            probes = fake.probes
            await until(lambda: fake.probes >= probes + 4)
            outcome = (await draw(backend, chat(), [0]))[0]
            assert isinstance(outcome, NoUpstreamError)
            assert (outcome.status, outcome.retryable) == (503, False)
            assert outcome.message == f"No upstream is up. {reason}"
            fake.healthy = False
            await until(lambda: backend.troubles() == {name(fake): "Its health is 503."})
        finally:
            await backend.close()
    told = [r.getMessage() for r in caplog.records if "come up" in r.getMessage()]
    assert told == [
        f"Upstream {name(fake)} does not come up: {reason}",
        f"Upstream {name(fake)} does not come up: Its health is 503.",
    ]
    assert "wrong" not in caplog.text
