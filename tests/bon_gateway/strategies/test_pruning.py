"""When it prunes, when it does not and what it says. The rule and the bookkeeping have their own
tests. Time is virtual where candidates grow."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from bon_common.selection.pruning.probes import LEAST, PairSums, Probe
from bon_common.selection.pruning.started import matching_chance
from bon_gateway.errors import BadRequestError, PolicyFailedError
from bon_gateway.protocols import Trace
from bon_gateway.replay.clock import VirtualLoop
from bon_gateway.strategies.pruning import PruningSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakeHistory, FakePolicy, FakeReward, completion
from bon_gateway.types import CandidateStatus, ChatRequest, Message, Pruning, Selection

Ask = Callable[..., ChatRequest]
T = TypeVar("T")
POINT = 10


def virtual(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, 10_000))


def learnt(correlation: float = 0.9, *, probes: int = LEAST, tokens: int = 100) -> FakeHistory:
    """A history in which final rewards spread as far as partial ones, with this correlation."""
    sums = PairSums(8, 0.0, 70.0, 70.0, 70.0 * correlation)
    history = FakeHistory()
    history.probes.extend([Probe(0, 8, 8 * tokens, {POINT: sums})] * probes)
    return history


def policy(drawn: int = 20) -> FakePolicy:
    acts = {i: Act((completion(f"answer {i}", tokens=100),), token_s=1.0) for i in range(drawn)}
    return FakePolicy(acts)


def run(
    request: ChatRequest,
    history: FakeHistory | None,
    *,
    drawing: FakePolicy | None = None,
    reward: FakeReward | None = None,
    **settings: Any,
) -> Selection:
    kind = PruningSettings.model_validate(
        {"type": "pruning", "checkpoints": [POINT, 20], **settings}
    )

    async def work() -> Selection:
        referee = Referee()
        try:
            trace = Trace(history=history)
            used = drawing or policy()
            return await kind.build(referee).run(request, used, reward or FakeReward(), trace)
        finally:
            await referee.close()

    return virtual(work())


def pruned(selection: Selection) -> list[int]:
    return [c.index for c in selection.candidates if c.reason == "pruned"]


def seed_of(*, probing: bool) -> int:
    """A seed with which the request is a probe, or none."""
    return next(
        seed
        for seed in range(10_000)
        if (random.Random(f"request {seed} probe").random() < 0.02) is probing
    )


@pytest.fixture
def usual() -> int:
    return seed_of(probing=False)


def test_those_with_little_chance_are_stopped(ask: Ask, usual: int) -> None:
    selection = run(ask(seed=usual), learnt())
    assert selection.pruning is Pruning.ON
    assert selection.n == 9
    assert selection.winners == (8,)
    assert pruned(selection) == [*range(6)]
    for candidate in selection.candidates[:6]:
        assert candidate.status is CandidateStatus.REJECTED
        assert candidate.partial_rewards == ((POINT, float(candidate.index)),)
        assert candidate.tokens == POINT
    assert selection.usage.winner_tokens == 100
    assert selection.usage.discarded_tokens == 6 * POINT + 2 * 100
    assert selection.usage.reward_tokens == 10 * (9 + 3)
    assert selection.degraded == ()


def test_what_is_stopped_teaches_nothing(ask: Ask, usual: int) -> None:
    history = learnt()
    before = history.probes.tokens
    run(ask(seed=usual), history)
    assert history.probes.tokens == before


def test_a_higher_least_chance_stops_more(ask: Ask, usual: int) -> None:
    few = run(ask(seed=usual), learnt(), least_chance=0.001)
    more = run(ask(seed=usual), learnt(), least_chance=0.3)
    assert set(pruned(few)) < set(pruned(more))
    assert more.winners == (8,)


def test_a_weak_correlation_is_pruning_off(ask: Ask, usual: int) -> None:
    reward = FakeReward()
    selection = run(ask(seed=usual), learnt(0.19), reward=reward)
    assert selection.pruning is Pruning.OFF
    assert (selection.n, pruned(selection)) == (8, [])
    assert sum(map(len, reward.calls)) == 8, "nothing partial is scored"
    assert run(ask(seed=usual), learnt(0.5)).pruning is Pruning.ON
    assert run(ask(seed=usual), learnt(0.5), least_correlation=0.6).pruning is Pruning.OFF


def test_how_many_are_started_follows_from_what_partial_rewards_tell(ask: Ask, usual: int) -> None:
    assert run(ask(seed=usual), learnt(0.5)).n == 11
    assert run(ask(seed=usual), learnt(0.9)).n == 9
    assert run(ask(seed=usual), learnt(0.9), cap=8).pruning is Pruning.OFF
    assert run(ask(seed=usual), learnt(0.9), cap=8, least_chance=0.01).n == 8


def test_a_switch_is_logged_once(ask: Ask, usual: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bon_gateway.strategies.pruning")
    history = learnt(0.9, probes=LEAST)
    for _ in range(3):
        run(ask(seed=usual), history)
    weak = PairSums(8, 0.0, 70.0, 70.0, 0.0)
    history.probes.extend([Probe(1, 8, 800, {POINT: weak})] * 100)
    for _ in range(3):
        run(ask(seed=usual), history)
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages] == ["pruning is on", "pruning is off"]
    assert caplog.records[1].fields["correlations"] == {"10": 0.197}  # type: ignore[attr-defined]


def test_before_enough_is_known_all_requests_are_probes(ask: Ask) -> None:
    history = learnt(probes=LEAST - 1)
    selection = run(ask(), history)
    assert selection.pruning is Pruning.LEARNING
    assert (selection.n, pruned(selection)) == (8, [])
    assert history.probes.enough
    assert [c.partial_rewards for c in selection.candidates] == [
        ((POINT, float(i)), (20, float(i))) for i in range(8)
    ]
    assert history.probes.fits[POINT].correlation > 0.9


def test_without_a_history_nothing_is_learnt(ask: Ask) -> None:
    reward = FakeReward()
    selection = run(ask(), None, reward=reward)
    assert selection.pruning is Pruning.LEARNING
    assert (selection.n, sum(map(len, reward.calls))) == (8, 8)


def test_one_in_fifty_requests_is_a_probe(ask: Ask) -> None:
    history = learnt(tokens=300)
    selection = run(ask(seed=seed_of(probing=True)), history)
    assert selection.pruning is Pruning.PROBING
    assert (selection.n, pruned(selection)) == (8, [])
    assert history.probes.tokens == pytest.approx((LEAST * 2400 + 800) / (LEAST * 8 + 8))
    probes = sum(random.Random(f"request {s} probe").random() < 0.02 for s in range(10_000))
    assert 160 < probes < 240


@pytest.mark.parametrize("sampling", [{"deadline_ms": 150_000}, {"retries": 0}])
def test_a_probe_that_lost_something_teaches_nothing(ask: Ask, sampling: dict[str, Any]) -> None:
    history = learnt(probes=LEAST - 1)
    drawing = policy()
    lost = Act((PolicyFailedError("broken"),)) if "retries" in sampling else Act()
    drawing.acts = {**drawing.acts, 3: lost}
    selection = run(ask(), history, drawing=drawing, **sampling)
    assert selection.degraded
    assert not history.probes.enough


def test_answers_too_short_to_be_seen_are_learnt_too(ask: Ask) -> None:
    """Else every request would be looked at for ever."""
    short = FakePolicy({i: Act((completion(f"answer {i}", tokens=5),)) for i in range(20)})
    history = FakeHistory()
    for _ in range(LEAST):
        assert run(ask(), history, drawing=short).pruning is Pruning.UNSEEN
    assert history.probes.enough
    assert run(ask(seed=seed_of(probing=False)), history, drawing=short).pruning is Pruning.OFF


@pytest.mark.parametrize(
    "sampling",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"choice": ["answer 1", "answer 2"]}},
    ],
)
def test_tools_and_structured_output_are_not_pruned(
    ask: Ask, usual: int, sampling: dict[str, Any]
) -> None:
    acts = {i: Act((completion(f'{{"answer": {i}}}', tokens=100),)) for i in range(20)}
    history = learnt(probes=LEAST - 1)
    selection = run(ask(seed=usual, **sampling), history, drawing=FakePolicy(acts))
    assert selection.pruning is Pruning.FORM
    assert (selection.n, pruned(selection)) == (8, [])
    assert not history.probes.enough


@pytest.mark.parametrize(
    "sampling",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"response_format": {"type": "text"}},
    ],
)
def test_plain_text_is_pruned(ask: Ask, usual: int, sampling: dict[str, Any]) -> None:
    assert run(ask(seed=usual, **sampling), learnt()).pruning is Pruning.ON


def test_equal_partial_rewards_make_it_best_of_n(ask: Ask, usual: int) -> None:
    acts = {
        i: Act((completion(f"answer {i}", tokens=100),), partials={POINT: "answer 3"})
        for i in range(20)
    }
    selection = run(ask(seed=usual), learnt(), drawing=FakePolicy(acts))
    assert (selection.pruning, pruned(selection)) == (Pruning.SILENT, [])
    assert selection.winners == (8,)


@pytest.mark.parametrize("largest", [math.nan, math.inf, 1e308, -1e200])
def test_partial_rewards_that_cannot_be_computed_with_make_it_best_of_n(
    ask: Ask, usual: int, largest: float
) -> None:
    def rule(message: Message) -> float:
        even = int(message["content"].split()[-1]) % 2 == 0
        return largest if even else -largest

    selection = run(ask(seed=usual), learnt(), reward=FakeReward(rule=rule))
    assert (selection.pruning, pruned(selection)) == (Pruning.SILENT, [])
    # Nor does a probe fail that would learn from them.
    history = FakeHistory()
    assert run(ask(), history, reward=FakeReward(rule=rule)).pruning is Pruning.LEARNING
    assert history.probes.tokens == 100


def test_as_many_are_left_as_the_client_asks_for(ask: Ask, usual: int) -> None:
    selection = run(ask(seed=usual, top=8), learnt())
    assert selection.winners == (8, 7, 6, 5, 4, 3, 2, 1)
    assert pruned(selection) == [0]
    with pytest.raises(BadRequestError, match="at most 8"):
        run(ask(top=9), learnt())


def test_at_the_deadline_the_best_that_ended_wins(ask: Ask, usual: int) -> None:
    drawing = policy()
    early = Act((completion("answer 4", tokens=30),), token_s=1.0)
    drawing.acts = {**drawing.acts, 9: early}
    selection = run(ask(seed=usual), learnt(0.6), drawing=drawing, deadline_ms=50_000)
    assert selection.winners == (9,)
    assert selection.degraded == ("deadline",)
    assert {c.reason for c in selection.candidates} == {"pruned", "deadline", None}


def test_temperature_zero_draws_one(ask: Ask) -> None:
    selection = run(ask(temperature=0), learnt())
    assert (selection.n, selection.pruning) == (1, None)


def test_settings() -> None:
    kind = PruningSettings(type="pruning", n=16)
    assert (kind.drawn, kind.pool) == (22, 16)
    assert PruningSettings(type="pruning", n=4, cap=4).drawn == 4
    assert kind.lowered(20) == {"cap": 20, "n": 16}
    assert kind.lowered(8) == {"cap": 8, "n": 8}
    assert matching_chance(16, 6) == 0.53 / 16
    with pytest.raises(ValidationError, match=r"must be at least n \(8\), got 7"):
        PruningSettings(type="pruning", cap=7)
    for bad in ((64, 32), (32, 32)):
        with pytest.raises(ValidationError, match="must ascend"):
            PruningSettings(type="pruning", checkpoints=bad)
    for checkpoints in ((), (0, 3), tuple(range(1, 18))):
        with pytest.raises(ValidationError):
            PruningSettings(type="pruning", checkpoints=checkpoints)
