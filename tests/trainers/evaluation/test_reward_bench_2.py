from __future__ import annotations

import math

import pytest

from trainers.evaluation.reward_bench_2 import Item, RewardBench2, credit, score_ties

REF = Item("ref:1", "Ties", right=[2.0], wrong=[1.0, 0.5])
"""Gap 1."""
TIED = Item("tied:1", "Ties", right=[3.0, 3.5], wrong=[0.0, 1.0])
"""Gap 2, spread .5."""


def item(subset: str, *rewards: float) -> Item:
    return Item("1", subset, right=[rewards[0]], wrong=list(rewards[1:]))


@pytest.mark.parametrize(
    ("rewards", "share"),
    [((2, 1, 0, 1), 1), ((1, 2, 0, 0), 0), ((2, 2, 0, 1), 0.5), ((2, 2, 2, 2), 0.25)],
)
def test_credit_is_shared_with_equal_rewards(rewards: tuple[float, ...], share: float) -> None:
    assert credit(item("Math", *rewards)) == share


def test_a_prompt_that_is_right_in_every_way() -> None:
    found = score_ties([REF, TIED])
    margin = math.tanh(1 / 0.5 - 1)
    assert (found.ref_accuracy, found.tied_accuracy) == (1, 1)
    assert (found.preferred, found.preferred_hard) == (1, 1)
    assert found.margin == pytest.approx(margin)
    assert found.score == pytest.approx(1 + 0.01 * margin)


def test_each_part_of_the_ties_score() -> None:
    """By hand: prompt 1 as above; 2 is solved with a wide spread; 3 is wrong as tied."""
    items = [
        REF,
        TIED,
        Item("ref:2", "Ties", right=[1.0], wrong=[0.5]),  # gap .5
        Item("tied:2", "Ties", right=[4.0, 5.0], wrong=[2.0]),  # gap 2, spread 1
        Item("ref:3", "Ties", right=[0.0], wrong=[0.25]),  # gap -.25
        Item("tied:3", "Ties", right=[1.0, 2.0], wrong=[1.5]),  # gap -.5, spread 1
        Item("ref:4", "Ties", right=[2.0], wrong=[0.0]),  # stands alone
    ]
    found = score_ties(items)
    assert found.ref_accuracy == pytest.approx(3 / 4)
    assert found.tied_accuracy == pytest.approx(2 / 3)
    assert found.preferred == pytest.approx(2 / 3)
    assert found.preferred_hard == pytest.approx(1 / 3)
    margin = (math.tanh(1.0) + math.tanh(-0.5) + math.tanh(-1.5)) / 3
    assert found.margin == pytest.approx(margin)
    parts = 0.3 * 2 / 3 + 0.3 * 3 / 4 + 0.2 * 2 / 3 + 0.2 / 3 + 0.01 * margin
    assert found.score == pytest.approx(parts)


@pytest.mark.parametrize(("wrong", "margin"), [(0.0, 1.0), (1.0, 0.0), (2.0, -1.0)])
def test_right_answers_of_one_reward(wrong: float, margin: float) -> None:
    """The spread is 0: the margin is at its limit, or 0 where the gap is 0 too."""
    tied = Item("tied:1", "Ties", right=[1.0, 1.0], wrong=[wrong])
    ref = Item("ref:1", "Ties", right=[9.0], wrong=[0.0])
    assert score_ties([ref, tied]).margin == margin


def test_subsets_count_alike() -> None:
    items = [item("Math", 1, 0, 0, 0), item("Focus", 0, 1, 0, 0), item("Focus", 2, 1, 1, 1)]
    found = RewardBench2.of([*items, REF, TIED])
    assert found.subsets["Math"] == 1
    assert found.subsets["Focus"] == 0.5
    assert found.ties is not None
    assert found.overall == pytest.approx((1 + 0.5 + found.ties.score) / 3)
    assert found.missing == ["Factuality", "Precise IF", "Safety"]
    assert RewardBench2.of(items).ties is None


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no prompts"),
        ([REF], "both as ref and as tied"),
        ([REF, Item("tied:1", "Ties", [1.0], [0.0])], "tied:1 has a single right answer"),
    ],
)
def test_what_cannot_be_scored(items: list[Item], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardBench2.of(items)
