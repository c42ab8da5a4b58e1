"""A strategy on recorded pools: exact where it can be, and the same as when it serves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bon_common.best_of_n import best_of_n
from bon_common.selection.pruning.probes import LEAST
from bon_common.settings.errors import SettingsError
from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.replay.drive import SEED_BITS, Replayed, replay
from bon_gateway.replay.log import PlacedRequest, RecordedCandidate, RecordedRequest
from bon_gateway.replay.policy import RecordedPolicy
from bon_gateway.replay.pools import PoolSet, pool_set
from bon_gateway.replay.rewards import RecordedRewards
from bon_gateway.replay.settings import ReplaySettings
from bon_gateway.sections.base import type_name
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.strategies.history import WindowHistory
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.registry import KINDS
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import CandidateStatus, ChatRequest, Selection
from tests.bon_gateway.replay.kit import virtual

CASES = settings(max_examples=30, deadline=None)


def recorded(
    rewards: Sequence[float | None],
    tokens: Sequence[int] | None = None,
    golds: Sequence[float] | None = None,
    texts: Sequence[str] | None = None,
    statuses: Sequence[str] | None = None,
) -> tuple[RecordedCandidate, ...]:
    found = []
    for i, reward in enumerate(rewards):
        status = CandidateStatus(statuses[i] if statuses else "finished")
        found.append(
            RecordedCandidate(
                i,
                status,
                tokens[i] if tokens else 10,
                {"role": "assistant", "content": texts[i] if texts else f"answer {i}"},
                "length" if status is CandidateStatus.TRUNCATED else "stop",
                reward,
                gold=golds[i] if golds else None,
            )
        )
    return tuple(found)


def pools_of(*pools: Sequence[RecordedCandidate], **sampling: Any) -> PoolSet:
    lines = [
        PlacedRequest(
            f"p.jsonl:{number}",
            RecordedRequest(
                1,
                "served",
                "base",
                None,
                "rm",
                ({"role": "user", "content": f"prompt {number}"},),
                tuple(drawn),
                sampling,
            ),
        )
        for number, drawn in enumerate(pools, 1)
    ]
    return pool_set(lines, None, 1)


def run(strategy: Mapping[str, Any], pools: PoolSet, **more: Any) -> list[list[Replayed]]:
    made = ReplaySettings.model_validate(
        {"pools": ["p"], "strategies": {"it": strategy}, "permutations": 4, **more}
    )
    return replay(made.strategies["it"], "it", pools, made)


REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9)


@CASES
@given(rewards=REWARDS, lengths=st.data())
def test_best_of_the_whole_pool_is_the_best_at_the_price_of_all(
    rewards: list[float], lengths: st.DataObject
) -> None:
    sizes = st.lists(st.integers(0, 500), min_size=len(rewards), max_size=len(rewards))
    tokens = lengths.draw(sizes)
    pools = pools_of(recorded(rewards, tokens))
    (found,) = run({"type": "best_of_n", "n": len(rewards)}, pools)
    for one in found:
        assert one.winner is not None
        assert one.winner.reward == max(rewards)
        assert one.tokens == sum(tokens)
        assert one.drawn == one.scored == len(rewards)
        assert one.rounds == 1
        # The scores of what arrives last are waited for. Those before may still be under way.
        slowest = max(tokens) * 0.02
        assert slowest + 0.05 - 1e-9 <= one.latency_s <= slowest + 0.1 + 1e-9


@CASES
@given(lengths=st.lists(st.integers(1, 60), min_size=2, max_size=9), data=st.data())
def test_first_k_keeps_the_shortest(lengths: list[int], data: st.DataObject) -> None:
    """The reward is the length, so that the winner is the longest of those that were kept; the rest
    has run until that one ended."""
    keep = data.draw(st.integers(1, len(lengths) - 1))
    strategy = {"type": "first_k", "n": keep, "spare": len(lengths) - keep}
    (found,) = run(strategy, pools_of(recorded([*map(float, lengths)], lengths)))
    last = sorted(lengths)[keep - 1]
    for one in found:
        assert one.winner is not None
        assert one.winner.tokens == last
        assert one.tokens == sum(min(length, last) for length in lengths)
        assert one.drawn == len(lengths)
        assert one.degraded == ()


def test_a_deadline_is_virtual() -> None:
    """After 100 ms five tokens of each are there, so the one of three tokens has arrived."""
    strategy = {"type": "best_of_n", "n": 3, "deadline_ms": 100}
    (found,) = run(strategy, pools_of(recorded([1.0, 2.0, 3.0], [3, 50, 60])), reward_ms=5)
    for one in found:
        assert one.winner is not None
        assert one.winner.index == 0
        assert one.tokens == 3 + 5 + 5
        assert one.degraded == ("deadline",)
        assert one.latency_s == pytest.approx(0.1)


def test_an_answer_that_comes_too_late_is_an_error_and_costs_all_the_same() -> None:
    strategy = {"type": "best_of_n", "n": 2, "deadline_ms": 100}
    (found,) = run(strategy, pools_of(recorded([1.0, 2.0], [50, 60])))
    assert {(one.winner, one.error, one.tokens) for one in found} == {
        (None, "deadline_exceeded", 10)
    }


@pytest.mark.parametrize("strategy", [{"type": "soft"}, {"type": "pessimistic", "beta": 3.0}])
def test_equal_seeds_give_equal_results(strategy: dict[str, Any]) -> None:
    pools = pools_of(*[recorded([0.0, 0.5, 1.0, 1.5], [3, 5, 7, 9]) for _ in range(20)])
    strategy = {**strategy, "n": 3}
    first = run(strategy, pools, seed=1)
    assert run(strategy, pools, seed=1) == first
    assert run(strategy, pools, seed=2) != first


def test_all_strategies_see_the_same_orders() -> None:
    pools = pools_of(*[recorded([*map(float, range(8))]) for _ in range(5)])
    small = run({"type": "best_of_n", "n": 2}, pools)
    large = run({"type": "best_of_n", "n": 8}, pools)
    alone = run({"type": "single"}, pools)
    rows = zip(chain(*alone), chain(*small), chain(*large), strict=True)
    for one, two, eight in rows:
        assert one.winner is not None
        assert two.winner is not None
        assert eight.winner is not None
        assert one.winner.index <= two.winner.index <= eight.winner.index
    assert len({one.winner.index for one in chain(*alone) if one.winner}) > 1


def test_permutations_estimate_best_of_n_over_all_subsets() -> None:
    source = random.Random(0)
    rewards = [source.gauss(0, 1) for _ in range(12)]
    golds = [reward + source.gauss(0, 1) for reward in rewards]
    pools = pools_of(recorded(rewards, golds=golds))
    for n in (1, 2, 5, 12):
        (found,) = run({"type": "best_of_n", "n": n}, pools, permutations=400)
        for drawn, exact in (
            ([w.reward for one in found if (w := one.winner)], best_of_n(rewards, rewards, n)),
            ([w.gold for one in found if (w := one.winner)], best_of_n(rewards, golds, n)),
        ):
            values = [value for value in drawn if value is not None]
            assert len(values) == 400
            assert fmean(values) == pytest.approx(exact, abs=4 * stdev(values) / 20 + 1e-9)


def test_a_pool_that_is_too_small_is_named() -> None:
    pools = pools_of(recorded([1.0] * 9), recorded([1.0] * 5), recorded([1.0] * 6))
    with pytest.raises(SettingsError) as caught:
        run({"type": "first_k", "n": 6, "spare": 2}, pools)
    assert str(caught.value) == (
        "strategies.it: draws 8 candidates, and the smallest pool has 5 (p.jsonl:2; 2 of 3 pools"
        " are too small). Lower it, or leave those out with --at-least 8"
    )


def test_a_greedy_request_draws_one_as_when_it_serves() -> None:
    (found,) = run({"type": "best_of_n", "n": 8}, pools_of(recorded([1.0]), temperature=0))
    assert {one.drawn for one in found} == {1}


def test_without_rewards_the_fallback_decides() -> None:
    pools = pools_of(recorded([None] * 3))
    (found,) = run({"type": "best_of_n", "n": 3}, pools)
    assert {one.degraded for one in found} == {("reward_refused",)}
    assert all(one.winner is not None for one in found)
    (found,) = run({"type": "best_of_n", "n": 3, "fallback": "error"}, pools)
    assert {one.error for one in found} == {"reward_refused"}
    (found,) = run({"type": "majority", "n": 3}, pools)
    assert {(one.degraded, one.scored) for one in found} == {((), 0)}


def test_invalid_candidates_are_drawn_and_judged_again() -> None:
    sampling = {"response_format": {"type": "json_object"}}
    statuses = ["finished", "invalid", "invalid"]
    drawn = recorded([1.0, None, None], texts=["{}", "[]", "no"], statuses=statuses)
    (found,) = run({"type": "best_of_n", "n": 3}, pools_of(drawn, **sampling))
    for one in found:
        assert one.winner is not None
        assert (one.winner.index, one.changed, one.tokens) == (0, 0, 30)
    (found,) = run({"type": "best_of_n", "n": 3}, pools_of(drawn))
    assert {one.changed for one in found} == {2}


def test_a_schema_for_the_checking_process_takes_no_virtual_time() -> None:
    """The time that the process takes to start and to check would be over at the first timer."""
    schema = {"prefixItems": [{"type": "string"}], "unevaluatedItems": False}
    sampling = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    }
    drawn = recorded([1.0, None], texts=['["a"]', '["a", "a"]'], statuses=["finished", "invalid"])
    (found,) = run({"type": "best_of_n", "n": 2}, pools_of(drawn, **sampling), permutations=1)
    assert found[0].winner is not None
    assert found[0].winner.index == 0
    assert found[0].degraded == ()
    assert found[0].changed == 0
    assert found[0].latency_s == pytest.approx(0.25)


async def served(
    kind: StrategySettings, pool: Sequence[RecordedCandidate], request: ChatRequest
) -> Selection:
    """The strategy with the fakes of every other test."""
    acts = {}
    rewards = {}
    for index, one in enumerate(pool):
        assert one.message is not None
        text = one.message["content"]
        acts[index] = Act((completion(text, tokens=one.tokens),), delay=0.02 * one.tokens)
        rewards[text] = one.reward or 0.0
    reward = FakeReward(rule=lambda message: rewards[message["content"]])
    referee = Referee()
    try:
        trace = Trace(history=WindowHistory())
        return await kind.build(referee).run(request, FakePolicy(acts), reward, trace)
    finally:
        await referee.close()


OUTSIDE = ("hook", "cascade")
"""Strategies that need a function or a policy of the operator's."""


@pytest.mark.parametrize("name", [type_name(k) for k in KINDS if type_name(k) not in OUTSIDE])
def test_every_strategy_answers_as_when_it_serves(name: str) -> None:
    texts = ["it is 7", "I say 8", "8", "so 8.", "9", "perhaps 7"]
    pool = recorded([0.1, 1.2, 0.3, 0.9, 1.4, 0.2], [1, 2, 3, 4, 5, 30], texts=texts)
    section: dict[str, Any] = {"type": name}
    if name != "single":
        section["n"] = 4
    needed: dict[str, dict[str, Any]] = {
        "adaptive": {"cap": 6},
        "good_enough": {"threshold": 1.0},
    }
    section |= needed.get(name, {})
    more = {"permutations": 5, "seed": 3}
    made = ReplaySettings.model_validate({"pools": ["p"], "strategies": {"it": section}, **more})
    kind = made.strategies["it"]
    (found,) = replay(kind, "it", pools_of(pool), made)
    for permutation, one in enumerate(found):
        source = random.Random(f"3 0 {permutation}")
        order = source.sample(pool, len(pool))
        messages = [{"role": "user", "content": "prompt 1"}]
        request = ChatRequest(messages, {}, source.getrandbits(SEED_BITS), 1, "r")
        selection = virtual(served(kind, order, request))
        assert one.winner == order[selection.winners[0]]
        assert one.drawn == selection.n


def test_a_strategy_learns_from_the_requests_before() -> None:
    source = random.Random(5)
    pools = pools_of(
        *(recorded([source.gauss(0, 1) for _ in range(16)]) for _ in range(30)),
    )
    made = ReplaySettings.model_validate(
        {
            "pools": ["p"],
            "strategies": {"it": {"type": "adaptive", "n": 8, "wave": 2}},
            "permutations": 6,
        }
    )
    found = replay(made.strategies["it"], "it", pools, made)
    drawn = [[one.drawn for one in own] for own in found]
    # The first 128 requests are those of four passes, and 8 of the fifth.
    assert {own[place] for own in drawn for place in range(4)} == {16}
    assert {own[4] for own in drawn[:8]} == {16}
    later = [own[5] for own in drawn]
    assert min(later) < 8 < max(later)
    assert replay(made.strategies["it"], "it", pools, made) == found


class SpySettings(BestOfNSettings):
    type: Literal["spy"]  # type: ignore[assignment]
    seeds: ClassVar[list[int | None]] = []

    def build(self, referee: Referee) -> Spy:
        return Spy(self, referee)


@dataclass(frozen=True, slots=True)
class Spy(BestOfN):
    """A strategy of somebody else's: what it is given shows who runs it."""

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        assert isinstance(policy, RecordedPolicy)
        assert isinstance(reward, RecordedRewards)
        SpySettings.seeds.append(request.seed)
        await asyncio.sleep(60)
        return await BestOfN.run(self, request, policy, reward, trace)


def test_the_strategy_itself_runs_with_a_seed_for_each_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SpySettings, "seeds", [])
    made = ReplaySettings.model_validate(
        {"pools": ["p"], "strategies": {"it": {"type": "single"}}, "permutations": 3}
    )
    pools = pools_of(recorded([1.0, 2.0]), recorded([1.0, 2.0]))
    for own in replay(SpySettings(type="spy", n=2), "it", pools, made):
        for one in own:
            assert one.winner is not None
            assert one.winner.index == 1
            assert one.latency_s == pytest.approx(60 + 0.25)
    assert None not in SpySettings.seeds
    assert len(set(SpySettings.seeds)) == 2 * 3


class OverdrawingSettings(BestOfNSettings):
    type: Literal["overdrawing"]  # type: ignore[assignment]

    def build(self, referee: Referee) -> Overdrawing:
        return Overdrawing(self, referee)


@dataclass(frozen=True, slots=True)
class Overdrawing(BestOfN):
    """It says that it draws one candidate, and draws as many as its settings say."""

    def drawn(self, request: ChatRequest) -> int:
        return 1

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        return await BestOfN(self.settings, self.referee).run(request, policy, reward, trace)


def test_a_strategy_that_draws_more_than_it_says_is_found_out() -> None:
    made = ReplaySettings.model_validate(
        {"pools": ["p"], "strategies": {"it": {"type": "single"}}, "permutations": 1}
    )
    kind = OverdrawingSettings(type="overdrawing", n=5)
    with pytest.raises(SettingsError, match="drew more candidates than it says"):
        replay(kind, "it", pools_of(recorded([1.0, 2.0])), made)


def early(i: int, tokens: int, *partial: tuple[int, float]) -> RecordedCandidate:
    text = f"{i:02d}".ljust(tokens, ".")
    return RecordedCandidate(
        i,
        CandidateStatus.FINISHED,
        tokens,
        {"role": "assistant", "content": text},
        "stop",
        float(i % 16),
        partial_rewards=partial,
    )


def pruned_pools(prompts: int, checkpoint: int = 32) -> PoolSet:
    """Partial rewards that tell the final ones."""
    return pools_of(
        *[tuple(early(i, 300, (checkpoint, i % 16 + 0.1)) for i in range(24))] * prompts
    )


def test_pruning_is_replayed_on_recorded_partial_rewards() -> None:
    made = pruned_pools(90)
    base = run({"type": "best_of_n", "n": 16}, made, permutations=1)
    found = run({"type": "pruning", "n": 16, "checkpoints": [32]}, made, permutations=1)
    tokens = [own[0].tokens for own in found]
    assert tokens[:LEAST] == [16 * 300] * LEAST
    assert sum(count < 0.6 * 16 * 300 for count in tokens[LEAST:]) >= 35
    assert min(tokens) > 16 * 32
    assert found[0][0].scored_tokens == 16 * (300 + 32)
    for own, other in zip(found, base, strict=True):
        assert own[0].winner is not None
        assert other[0].winner is not None
        # More are started, so it may be better.
        assert (own[0].winner.reward or 0) >= (other[0].winner.reward or 0)


def test_a_pool_without_the_partial_rewards_is_named() -> None:
    asked = {"type": "pruning", "n": 16, "checkpoints": [32, 64]}
    with pytest.raises(SettingsError) as caught:
        run(asked, pruned_pools(2))
    assert str(caught.value).startswith("strategies.it: checkpoints: it looks at unfinished")
    assert "lack 48 of their rewards: the first is that of candidate 0 after 64" in str(
        caught.value
    )
    short = pools_of(tuple(early(i, 30) for i in range(24)))
    assert len(run(asked, short)) == 1
