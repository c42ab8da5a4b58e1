"""Which candidate wins, exactly."""

from __future__ import annotations

import itertools

from bon_gateway.strategies.decide import all_empty, contenders, led_by, rank
from bon_gateway.types import Candidate, CandidateStatus, Tier

F, T = CandidateStatus.FINISHED, CandidateStatus.TRUNCATED


def pool(*entries: tuple[CandidateStatus, float | None]) -> list[Candidate]:
    return [Candidate(i, status, reward=reward) for i, (status, reward) in enumerate(entries)]


def test_the_highest_raw_reward_wins() -> None:
    assert rank(pool((F, 0.1), (F, 23.0), (F, 22.9), (F, -4.0))) == (1, 2, 0, 3)


def test_rewards_that_a_sigmoid_would_tie_are_told_apart() -> None:
    assert rank(pool((F, 40.0), (F, 41.0)))[0] == 1


def test_ties_go_to_the_lower_index() -> None:
    assert rank(pool((F, 1.0), (F, 2.0), (F, 2.0))) == (1, 2, 0)


def test_a_truncated_candidate_comes_after_every_finished_one() -> None:
    assert rank(pool((T, 9.0), (F, -9.0), (T, 10.0))) == (1, 2, 0)


def test_failed_rejected_and_invalid_candidates_never_win() -> None:
    others = [(s, 5.0) for s in CandidateStatus if s not in (F, T)]
    assert rank(pool(*others)) == ()
    assert rank(pool(*others, (T, -5.0))) == (len(others),)


def test_a_candidate_without_an_answer_comes_after_all_that_have_one() -> None:
    tiers = list(itertools.product(Tier, (F, T)))
    candidates = [
        Candidate(i, status, reward=float(i), tier=tier) for i, (tier, status) in enumerate(tiers)
    ]
    assert [tiers[position] for position in rank(candidates)] == sorted(
        tiers, key=lambda entry: (entry[0], entry[1] is T)
    )


def test_a_rule_of_ones_own_is_for_those_of_the_best_kind() -> None:
    candidates = pool((T, 9.0), (F, 1.0), (CandidateStatus.FAILED, 5.0), (F, 2.0), (T, 8.0))
    assert contenders(candidates) == (3, 1)
    assert led_by((1,), candidates) == (1, 3, 0, 4)
    assert contenders(candidates[:1]) == (0,)
    assert contenders([]) == ()


def test_the_empty_ones_answer_only_where_there_is_nothing_else() -> None:
    empty = Candidate(0, CandidateStatus.INVALID, reason="empty")
    assert all_empty([empty, empty]) == (0, 1)
    for other in CandidateStatus:
        assert all_empty([empty, Candidate(1, other, reason="not_json")]) == ()


def test_an_unscored_candidate_comes_after_scored_ones() -> None:
    assert rank(pool((F, None), (F, -100.0))) == (1, 0)


def test_without_rewards_the_order_is_that_of_the_index() -> None:
    assert rank(pool((F, None), (F, None), (T, None))) == (0, 1, 2)


def test_best_of_n_picks_each_outcome_with_its_exact_probability() -> None:
    """P(y) = F(y)^n - F(y-)^n over a policy of three outcomes with distinct rewards."""
    probability = {0.0: 0.2, 1.0: 0.5, 2.0: 0.3}
    n = 3
    measured = dict.fromkeys(probability, 0.0)
    for draws in itertools.product(probability, repeat=n):
        weight = 1.0
        for reward in draws:
            weight *= probability[reward]
        winner = rank(pool(*((F, reward) for reward in draws)))[0]
        measured[draws[winner]] += weight
    below = 0.0
    for reward in sorted(probability):
        up_to = below + probability[reward]
        assert abs(measured[reward] - (up_to**n - below**n)) < 1e-12
        below = up_to
