"""`confidence`, `borda`'s confidence, and the fallback to confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bon_gateway.errors import NoConfidenceError, PolicyFailedError, RewardRefusedError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.borda import BordaSettings
from bon_gateway.strategies.confidence import ConfidenceSettings
from bon_gateway.strategies.decide import rank, rank_by_confidence
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.signals import MEAN_LOGPROB
from bon_gateway.strategies.soft import SoftSettings
from bon_gateway.strategies.weighted_vote import WeightedVoteSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import (
    Candidate,
    CandidateStatus,
    ChatRequest,
    Completion,
    Selection,
    Tier,
)

Ask = Callable[..., ChatRequest]
BROKEN = PolicyFailedError("broken")
MEAN = {"type": "mean_logprob"}


def policy(*outcomes: Completion | PolicyFailedError) -> FakePolicy:
    return FakePolicy({i: Act((outcome,)) for i, outcome in enumerate(outcomes)})


def said(text: str, *logprobs: float, **more: Any) -> Completion:
    return completion(text, logprobs=logprobs or None, **more)


async def run(
    kind: type[DrawSettings],
    request: ChatRequest,
    policy: FakePolicy,
    reward: FakeReward | None = None,
    **more: Any,
) -> Selection:
    name = kind.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
    values = {"type": name, "n": len(policy.acts), "retries": 0, **more}
    strategy = kind.model_validate(values).build(Referee())
    return await strategy.run(request, policy, reward, Trace())


POOL = (
    said("long, and not sure", -1.0, -1.0, -0.5, -0.5),
    said("sure", -0.4, -0.6),
    said("not", -3.0),
    said("as sure", -0.5),
)


async def test_the_highest_mean_wins_and_the_lower_index_of_equals(ask: Ask) -> None:
    selection = await run(ConfidenceSettings, ask(top=4), policy(*POOL))
    assert selection.winners == (1, 3, 0, 2)
    assert [candidate.confidence for candidate in selection.candidates] == [-0.75, -0.5, -3.0, -0.5]
    assert (selection.strategy, selection.degraded) == ("confidence", ())
    # Nobody asked for them.
    assert all(c.completion and c.completion.logprobs is None for c in selection.candidates)


async def test_a_reward_model_is_not_asked(ask: Ask) -> None:
    reward = FakeReward(is_ready=False)
    for kind in (ConfidenceSettings, BordaSettings):
        selection = await run(kind, ask(), policy(*POOL), reward, signal=MEAN, fallback="error")
        assert selection.candidates[0].reward is None
    assert reward.calls == []


async def test_only_those_that_may_win_are_chosen(ask: Ask) -> None:
    cut = said("very sure", -0.1, finish_reason="length")
    drawn = policy(cut, BROKEN, said("", -0.0), said("less", -2.0), said("more", -1.0), cut)
    selection = await run(ConfidenceSettings, ask(top=4), drawn)
    assert selection.winners == (4, 3, 0, 5)
    assert selection.degraded == ("candidates_failed",)
    # If all are cut, the surest of them wins.
    surer = said("surer", -0.01, finish_reason="length")
    assert (await run(ConfidenceSettings, ask(), policy(cut, surer))).winners == (1,)


async def test_without_log_probabilities_the_index_decides_or_nothing(ask: Ask) -> None:
    silent = [said("one"), said("two")]
    selection = await run(ConfidenceSettings, ask(), policy(*silent))
    assert (selection.winners, selection.degraded) == ((0,), ("confidence_unavailable",))
    with pytest.raises(NoConfidenceError, match="no log-probabilities"):
        await run(ConfidenceSettings, ask(), policy(*silent), fallback="error")
    # Some are enough to choose by, but not all could.
    half = [*silent, said("three", -5.0)]
    for fallback in ("first", "error"):
        selection = await run(ConfidenceSettings, ask(), policy(*half), fallback=fallback)
        assert (selection.winners, selection.degraded) == ((2,), ("confidence_unavailable",))
    with pytest.raises(PolicyFailedError):
        await run(ConfidenceSettings, ask(), policy(BROKEN), fallback="error")


async def test_temperature_0_is_measured_too(ask: Ask) -> None:
    selection = await run(ConfidenceSettings, ask(temperature=0), policy(*POOL))
    assert (selection.n, selection.winner.confidence) == (1, -0.75)


TEXTS = ("It is 5", "so 6", "6!", "5?", "no number")


async def test_ranks_weigh_the_votes(ask: Ask) -> None:
    """5 has the ranks 1 and 4 of those with a number, 6 has 2 and 3."""
    drawn = policy(*map(said, TEXTS, (-0.1, -0.2, -0.3, -0.9, -0.05)))
    more: dict[str, Any] = {"signal": MEAN}
    assert (await run(BordaSettings, ask(), drawn, p=0.5, **more)).winners == (1,)
    selection = await run(BordaSettings, ask(top=5), drawn, p=2.0, **more)
    assert selection.winners == (0, 1, 4, 2, 3)
    assert (selection.strategy, selection.degraded) == ("borda", ())


async def test_votes_without_log_probabilities_are_a_majority(ask: Ask) -> None:
    drawn = policy(*map(said, ("7", "8", "8.0")))
    selection = await run(BordaSettings, ask(), drawn)
    assert (selection.winners, selection.degraded) == ((1,), ("confidence_unavailable",))
    with pytest.raises(NoConfidenceError):
        await run(BordaSettings, ask(), drawn, fallback="error")


@pytest.mark.parametrize("kind", [BestOfNSettings, SoftSettings])
async def test_confidence_stands_in_for_rewards(kind: type[DrawSettings], ask: Ask) -> None:
    down = FakeReward(failures=99)
    selection = await run(kind, ask(top=4), policy(*POOL), down, fallback="confidence")
    assert selection.winners == (1, 3, 0, 2)
    assert selection.degraded == ("reward_unavailable", "chosen_by_confidence")
    selection = await run(kind, ask(), policy(*POOL), FakeReward(failures=99))
    assert (selection.winners, selection.degraded) == ((0,), ("reward_unavailable",))
    assert selection.winner.confidence is None


async def test_nothing_is_drawn_for_nothing_while_the_reward_model_is_down(ask: Ask) -> None:
    """Only the fallback ``error`` refuses."""
    down = FakeReward(is_ready=False, failures=99)
    selection = await run(BestOfNSettings, ask(), policy(*POOL), down, fallback="confidence")
    assert selection.winners == (1,)


async def test_one_reward_is_better_than_all_confidence(ask: Ask) -> None:
    selection = await run(
        BestOfNSettings,
        ask(top=2),
        policy(said("answer 1", -9.0), said("answer 2", -8.0), said("answer 0", -0.1)),
        FakeReward(),
        fallback="confidence",
    )
    assert (selection.winners, selection.degraded) == ((1, 0), ())
    assert selection.winner.confidence == -8.0


async def test_rewards_that_are_left_decide(ask: Ask) -> None:
    def rule(message: Any) -> float:
        if message["content"] == "too long":
            raise RewardRefusedError("it cannot be read", too_many=True)
        return 0.0

    drawn = policy(said("too long", -0.1), said("short", -9.0))
    selection = await run(
        BestOfNSettings, ask(), drawn, FakeReward(rule=rule), fallback="confidence"
    )
    assert (selection.winners, selection.degraded) == ((1,), ("reward_refused",))


async def test_where_neither_is_known_the_index_decides(ask: Ask) -> None:
    selection = await run(
        BestOfNSettings,
        ask(),
        policy(said("one"), said("two")),
        FakeReward(failures=99),
        fallback="confidence",
    )
    assert selection.winners == (0,)
    assert selection.degraded == ("reward_unavailable", "confidence_unavailable")


@pytest.mark.parametrize("kind", [MajoritySettings, WeightedVoteSettings])
async def test_votes_fall_back_to_the_majority_and_its_surest(
    kind: type[DrawSettings], ask: Ask
) -> None:
    down, more = FakeReward(failures=99), {"fallback": "confidence"}
    drawn = policy(said("9", -0.1), said("It is 4", -2.0), said("4", -1.0))
    selection = await run(kind, ask(), drawn, down, **more)
    assert selection.winners == (2,)
    assert selection.degraded == ("reward_unavailable", "chosen_by_confidence")
    tied = policy(said("9", -2.0), said("4", -1.0))
    assert (await run(kind, ask(), tied, FakeReward(failures=99), **more)).winners == (1,)
    mute = policy(said("no", -2.0), said("none", -1.0))
    assert (await run(kind, ask(), mute, FakeReward(failures=99), **more)).winners == (1,)


async def test_log_probabilities_are_asked_for_where_they_are_of_use(ask: Ask) -> None:
    asked = []
    cases: list[tuple[type[DrawSettings], FakeReward | None, str]] = [
        (ConfidenceSettings, None, "first"),
        (BestOfNSettings, FakeReward(), "confidence"),
        (BestOfNSettings, FakeReward(), "first"),
        (MajoritySettings, None, "confidence"),  # there is no reward model that could fail
    ]
    for kind, reward, fallback in cases:
        drawn = policy(*POOL)
        await run(kind, ask(), drawn, reward, fallback=fallback)
        asked.append(drawn.requests[0].signal)
    assert asked == [MEAN_LOGPROB, MEAN_LOGPROB, None, None]


@pytest.mark.parametrize(
    ("kind", "values", "wrong"),
    [
        (ConfidenceSettings, {"fallback": "confidence"}, "fallback"),
        (ConfidenceSettings, {"signal": {"type": "reward"}}, "signal"),
        (ConfidenceSettings, {"signal": {"type": "mean_logprob", "window": 9}}, "window"),
        (ConfidenceSettings, {"signal": {"type": "lowest_group", "window": 0}}, "window"),
        (ConfidenceSettings, {"signal": {"type": "self_certainty", "top_logprobs": 1}}, "top_logp"),
        (ConfidenceSettings, {"signal": {"type": "self_certainty", "top_logprobs": 101}}, "top_l"),
        (BordaSettings, {"p": -1}, "p"),
        (BordaSettings, {"fallback": "confidence"}, "fallback"),
    ],
)
def test_settings_that_are_refused(
    kind: type[DrawSettings], values: dict[str, Any], wrong: str
) -> None:
    name = kind.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
    with pytest.raises(ValidationError, match=wrong):
        kind.model_validate({"type": name, **values})


pools = st.lists(
    st.tuples(
        st.sampled_from(CandidateStatus),
        st.none() | st.integers(-9, 0),
        st.sampled_from(Tier),
    ),
    max_size=7,
)


def pool_of(drawn: Sequence[tuple[CandidateStatus, int | None, Tier]]) -> list[Candidate]:
    def measured(confidence: int | None) -> Completion:
        known = None if confidence is None else float(confidence)
        return Completion({"content": "a"}, "stop", 1, 1, confidence=known)

    return [
        Candidate(index, status, measured(confidence), tier=tier)
        for index, (status, confidence, tier) in enumerate(drawn)
    ]


@given(drawn=pools, data=st.data())
def test_the_order_of_the_candidates_does_not_matter(
    drawn: list[tuple[CandidateStatus, int | None, Tier]], data: st.DataObject
) -> None:
    pool = pool_of(drawn)
    order = [pool[position].index for position in rank_by_confidence(pool)]
    assert sorted(order) == sorted(rank(pool))
    mixed = data.draw(st.permutations(pool))
    assert [mixed[position].index for position in rank_by_confidence(mixed)] == order
