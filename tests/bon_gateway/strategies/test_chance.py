"""The order of candidates that chance decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bon_gateway.strategies.chance import by_chance
from bon_gateway.strategies.decide import rank
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest

Ask = Callable[..., ChatRequest]
F, T = CandidateStatus.FINISHED, CandidateStatus.TRUNCATED
SEEDS = range(40)


def pool(*entries: tuple[CandidateStatus, float | None]) -> list[Candidate]:
    return [Candidate(i, status, reward=reward) for i, (status, reward) in enumerate(entries)]


def alike(rewards: Sequence[float]) -> list[float]:
    return [0.0] * len(rewards)


def only_the_best(rewards: Sequence[float]) -> list[float]:
    return [0.0 if reward == max(rewards) else float("-inf") for reward in rewards]


def test_only_contenders_with_a_reward_are_drawn(ask: Ask) -> None:
    failed = (CandidateStatus.FAILED, 9.0)
    candidates = pool((T, 9.0), (F, 1.0), (F, None), (F, 3.0), failed, (F, 2.0))
    orders = {by_chance(ask(seed=seed), candidates, alike) for seed in SEEDS}
    assert {order[3:] for order in orders} == {(2, 0)}
    assert {order[0] for order in orders} == {1, 3, 5}
    assert {order[1] for order in orders} == {1, 3, 5}


def test_the_rule_gets_the_rewards_of_those_alone(ask: Ask) -> None:
    seen: list[list[float]] = []

    def rule(rewards: Sequence[float]) -> list[float]:
        seen.append(sorted(rewards))
        return alike(rewards)

    by_chance(ask(), pool((T, 9.0), (F, 1.0), (F, None), (F, 3.0)), rule)
    assert seen == [[1.0, 3.0]]


def test_a_weight_is_for_the_candidate_whose_reward_it_comes_from(ask: Ask) -> None:
    candidates = pool((F, 1.0), (F, 4.0), (F, 3.0), (F, None))
    orders = {by_chance(ask(seed=seed), candidates, only_the_best) for seed in SEEDS}
    assert orders == {(1, 2, 0, 3)}, "those without a chance follow by reward"


def test_truncated_ones_are_drawn_where_none_is_finished(ask: Ask) -> None:
    candidates = pool((T, 1.0), (T, 2.0), (CandidateStatus.INVALID, 3.0))
    winners = {by_chance(ask(seed=seed), candidates, alike)[0] for seed in SEEDS}
    assert winners == {0, 1}


def test_without_rewards_nothing_is_left_to_chance(ask: Ask) -> None:
    for candidates in (pool((F, None), (T, 5.0), (F, None)), pool((CandidateStatus.FAILED, 1.0))):
        orders = {by_chance(ask(seed=seed), candidates, alike) for seed in SEEDS}
        assert orders == {rank(candidates)}


def test_a_lost_reward_moves_no_other_candidates_noise(ask: Ask) -> None:
    whole, less = pool(*[(F, 1.0)] * 5), pool(*[(F, 1.0)] * 2, (F, None), *[(F, 1.0)] * 2)
    for seed in SEEDS:
        request = ask(seed=seed)
        expected = [p for p in by_chance(request, whole, alike) if p != 2]
        assert by_chance(request, less, alike) == (*expected, 2)
