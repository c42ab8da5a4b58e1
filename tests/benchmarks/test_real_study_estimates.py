"""What the real study computes, against values computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.real_study import candidate, line, module

est = module("estimates")
pools = module("pools")


def pool(*candidates: dict[str, Any]) -> Any:
    return pools.pool_of(line("What is 1 + 1?", list(candidates)))


def test_the_best_of_two_by_reward_is_the_mean_over_all_pairs() -> None:
    """Of the pairs (a, b), (a, c) and (b, c) only the first is answered by b, the right one."""
    found = pool(candidate("a", 0, 1.0), candidate("b", 1, 2.0), candidate("c", 0, 3.0))
    assert est.chosen(found, est.by_reward, est.by_gold, 2) == pytest.approx(1 / 3)
    assert est.chosen(found, est.at_random, est.by_gold, 2) == pytest.approx(1 / 3)
    assert est.oracle(found, 2) == pytest.approx(2 / 3)
    assert est.chosen(found, est.by_reward, est.by_reward, 2) == pytest.approx(8 / 3)


def test_an_answer_that_was_cut_wins_only_where_none_has_ended() -> None:
    cut = candidate("a b c", 1, 9.0, finished=False)
    by_reward = est.usable(est.by_reward)
    both = pool(cut, candidate("b", 0, 1.0))
    assert est.chosen(both, by_reward, est.by_gold, 2) == 0
    assert est.chosen(both, by_reward, est.by_gold, 1) == 0.5
    assert est.chosen(pool(cut, cut), by_reward, est.by_gold, 2) == 1


def test_logprobs_are_means_over_the_tokens() -> None:
    found = pool(candidate("a b c", 0, logprob=-2.0), candidate("a", 1, logprob=-1.5))
    assert [one.mean_logprob for one in found.drawn] == [-0.5, -0.75]
    assert est.chosen(found, est.by_logprob, est.by_gold, 2) == 0
    assert pool(candidate("a", 0)).drawn[0].mean_logprob == -float("inf")


def test_pairs_are_of_distinct_texts_and_equals_are_half_right() -> None:
    found = pool(
        candidate("right", 1, 2.0), candidate("right", 1, 2.0),
        candidate("low", 0, 1.0), candidate("equal", 0, 2.0), candidate("equal", 0, 2.0),
    )  # fmt: skip
    assert est.pair_accuracy(found, est.by_reward) == 0.75
    assert est.pair_accuracy(pool(candidate("right", 1, 2.0)), est.by_reward) is None
    assert est.pair_accuracies([found, pool(candidate("w", 0, 1.0))], est.by_reward) == [0.75]


def test_the_share_of_the_way_to_the_oracle() -> None:
    resamples = est.resamples_of(2)
    found = est.way([0.5, 1.0], [0.0, 0.0], [1.0, 1.0], resamples)
    assert found.value == 0.75
    assert found.low == 0.5
    assert found.high == 1.0
    assert est.way([0.5, 1.0], [0.0, 1.0], [1.0, 1.0], resamples) is None, "no way in a resample"


def test_a_difference_is_decided_where_zero_is_outside() -> None:
    base, best = [0.0] * 40, [1.0] * 40
    found = est.compared([0.5] * 40, base, best, est.resamples_of(40))
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.5, 0.5, 0.5)
    assert found.decided
    assert found.prompts_to_decide is None
    near = est.compared([1.0, 0.0] * 20, [0.0, 0.9] * 20, best, est.resamples_of(40))
    assert near.difference.value == pytest.approx(0.05)
    assert not near.decided
    # (1.96 * sd / mean)^2 with mean .05 and sd .95 sqrt(40 / 39)
    assert near.prompts_to_decide == pytest.approx(1423, abs=2)


def test_correlations_are_within_prompts_that_differ() -> None:
    pairs = [([1.0, 2.0], [5.0, 6.0]), ([1.0, 2.0], [6.0, 5.0]), ([1.0, 1.0], [5.0, 6.0])]
    assert est.within_prompts(pairs) == pytest.approx([1.0, -1.0])


def test_the_majority_of_texts_shares_among_equals() -> None:
    most = pool(candidate("two", 1), candidate("Two ", 1), candidate("3", 0))
    assert est.majority(most) == 1
    assert est.majority(pool(candidate("2", 1), candidate("3", 0))) == 0.5
