"""What is in force for which request, and when what is replaced is closed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from bon_common.keys import KeyRing
from bon_gateway.edge.admission import Admission
from bon_gateway.gateway import Gateway, ServedModel, same_backends
from bon_gateway.recording.recorder import Recorder as NoRecorder
from bon_gateway.reload.generations import Generation, Generations
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import FakeHistory, FakePolicy


@dataclass(slots=True)
class Policy(FakePolicy):
    closed: int = 0

    async def close(self) -> None:
        self.closed += 1


class Judged(Referee):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


class Recorder(NoRecorder):
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@dataclass(slots=True)
class App:
    """Answers when it is let."""

    served: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.served += 1
        await self.go.wait()


def settings(**timeouts: float) -> Settings:
    tree: dict[str, Any] = {
        "policies": {
            name: {"type": "vllm", "urls": ["http://h"], "timeout_s": timeout}
            for name, timeout in timeouts.items()
        },
        "models": {name: {"policy": name, "strategy": {"type": "single"}} for name in timeouts},
    }
    return Settings.model_validate(tree)


def generation(
    recorder: Recorder, referee: Referee | None = None, **policies: Policy
) -> Generation:
    gateway = Gateway(policies, {}, {}, referee or Referee())
    made_of = settings(**dict.fromkeys(policies, 1.0))
    return Generation(made_of, KeyRing(), gateway, recorder, Admission(1), App())


async def begin(generations: Generations) -> asyncio.Task[None]:
    async def nothing(*_: Any) -> Any:
        raise AssertionError("the app does not speak")

    task = asyncio.create_task(generations.serve({"type": "http"}, nothing, nothing))
    await asyncio.sleep(0)
    return task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_what_is_replaced_is_closed_behind_its_last_request() -> None:
    shared, old, new = Policy(), Policy(), Policy()
    recorder, other = Recorder(), Recorder()
    referee = Judged()
    first = generation(recorder, referee, shared=shared, old=old)
    second = generation(other, shared=shared, new=new)
    told: list[Generation] = []
    generations = Generations(first, told.append)
    one, two = await begin(generations), await begin(generations)
    generations.replace(second)
    three = await begin(generations)
    assert told == [first, second]
    assert isinstance(first.app, App)
    assert isinstance(second.app, App)
    assert (first.app.served, second.app.served) == (2, 1)

    one.cancel()
    await turns()
    assert (old.closed, recorder.closed, referee.closed) == (0, 0, 0)
    first.app.go.set()
    await two
    await turns()

    assert (old.closed, recorder.closed, referee.closed) == (1, 1, 1)
    assert (shared.closed, new.closed, other.closed) == (0, 0, 0)
    second.app.go.set()
    await three
    await turns()
    assert (shared.closed, new.closed) == (0, 0)
    await generations.close()
    assert [p.closed for p in (shared, old, new)] == [1, 1, 1]
    assert (recorder.closed, other.closed) == (1, 1)


async def test_a_backend_that_an_older_request_still_uses_stays() -> None:
    """Gone in the second, back in the third: the first one's own is still in use."""
    kept = Policy()
    first, second = generation(Recorder(), a=kept), generation(Recorder(), b=Policy())
    generations = Generations(first, lambda _: None)
    request = await begin(generations)
    generations.replace(second)
    generations.replace(generation(Recorder(), c=Policy()))
    await turns()
    assert kept.closed == 0
    assert isinstance(first.app, App)
    first.app.go.set()
    await request
    await turns()
    assert kept.closed == 1


async def test_the_end_closes_what_still_has_requests() -> None:
    old = Policy()
    generations = Generations(generation(Recorder(), a=old), lambda _: None)
    request = await begin(generations)
    new = Policy()
    generations.replace(generation(Recorder(), b=new))
    await generations.close()
    assert (old.closed, new.closed) == (1, 1)
    request.cancel()
    (outcome,) = await asyncio.gather(request, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert old.closed == 1


def test_backends_that_did_not_change_are_kept() -> None:
    before, after = settings(a=1.0, b=1.0, c=1.0), settings(a=1.0, b=2.0, d=1.0)
    kept = same_backends(before, after)
    assert kept == {"policies.a"}
    running = {name: Policy() for name in before.policies}
    fresh = {name: Policy() for name in after.policies}
    models = {
        name: ServedModel(name, fresh[name], None, served.strategy.build(Referee()), served)
        for name, served in after.models.items()
    }
    old = Gateway(running, {}, {}, Referee(), created=7)
    gateway = Gateway(fresh, {}, models, Referee()).with_backends_of(old, kept)
    assert gateway.policies == {"a": running["a"], "b": fresh["b"], "d": fresh["d"]}
    assert gateway.models["a"].policy is running["a"]
    assert gateway.models["b"].policy is fresh["b"]
    assert gateway.created == 7


def test_a_served_model_keeps_its_history_with_its_backends() -> None:
    before, after = settings(a=1.0, b=1.0), settings(a=1.0, b=2.0, c=1.0)
    kept = same_backends(before, after)

    def gateway(of: Settings) -> Gateway:
        policies = {name: Policy() for name in of.policies}
        models = {
            name: ServedModel(
                name, policies[name], None, served.strategy.build(Referee()), served, FakeHistory()
            )
            for name, served in of.models.items()
        }
        return Gateway(policies, {}, models, Referee())

    running, fresh = gateway(before), gateway(after)
    found = fresh.with_backends_of(running, kept).with_histories_of(running)
    histories = {name: served.history for name, served in found.models.items()}
    assert histories["a"] is running.models["a"].history
    assert histories["b"] is fresh.models["b"].history
    assert histories["c"] is fresh.models["c"].history
    assert all(history in found.parts for history in histories.values())
