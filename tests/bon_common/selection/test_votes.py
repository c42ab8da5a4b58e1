"""Votes among final answers: closed values, limits, and what must not change the winner."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.votes import (
    VotingRule,
    borda,
    majority,
    majority_of_the_bests,
    weighted_vote,
)

RULES: dict[str, VotingRule] = {
    "majority": majority,
    "weighted_vote": partial(weighted_vote, temperature=2.0),
    "majority_of_the_bests": partial(majority_of_the_bests, m=3),
    "borda": partial(borda, p=1.0),
}
ABBBC = ["A", "B", "B", "B", "C"]
RISING = [-3.0, -2.0, 0.5, 1.0, 7.0]

voters = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 11)), min_size=1, max_size=9,
    unique_by=lambda voter: voter[1],
)  # fmt: skip
"""No two rewards are equal."""


def winner(rule: VotingRule, pool: Sequence[tuple[str, int]]) -> str:
    answers = [answer for answer, _ in pool]
    # For majority no two sums may be equal either, or the order of the voters would decide.
    rewards = [float(2**r) if rule is majority else r / 4 for _, r in pool]
    return answers[rule(answers, rewards)[0]]


def test_the_most_frequent_answer_wins_with_its_best_candidate() -> None:
    assert majority(ABBBC, RISING) == [3, 4, 0]
    assert majority(["A", "B", "B"], [None] * 3) == [1, 0]
    assert majority([], []) == []


def test_rewards_decide_between_equally_frequent_answers() -> None:
    assert majority(["A", "B", "A", "B"], [9.0, 4.0, 0.0, 6.0])[0] == 3
    assert majority(["A", "B", "A", "B"], [None] * 4)[0] == 0
    # A missing reward is no zero: it makes an answer neither better nor worse than its others.
    assert majority(["A", "B", "A", "B"], [None, -2.0, -1.0, -2.0])[0] == 2
    assert majority(["A", "B", "A", "B"], [None, -2.0, -3.0, -2.0])[0] == 1
    assert majority(["A", "B", "A", "B"], [None, -9.0, None, -9.0])[0] == 1


def test_large_rewards_do_not_overflow() -> None:
    assert majority(["A", "B", "A", "B"], [1e308, 1.5e308, 1e308, 1.5e308])[0] == 1
    assert weighted_vote(["A", "B", "B"], [-1e308, 1e308, 1e308], 1e-300) == [1, 0]


def test_a_vote_weighs_the_exponential_of_its_reward() -> None:
    # Two votes of B weigh 2 exp(0) = 2; one of A weighs 2 where its reward is ln 2.
    for reward, first in ((math.log(2) + 1e-9, 0), (math.log(2) - 1e-9, 1)):
        assert weighted_vote(["A", "B", "B"], [reward, 0.0, 0.0], 1.0)[0] == first
        assert weighted_vote(["A", "B", "B"], [5 * reward, 0.0, 0.0], 5.0)[0] == first


def test_a_frequent_answer_does_not_lose_by_negative_rewards() -> None:
    """A plain sum would be -3 for A and -2 for B."""
    assert weighted_vote(["A", "A", "A", "B"], [-1.0, -1.0, -1.0, -2.0], 1.0)[0] == 0


def test_what_temperature_leads_to() -> None:
    assert weighted_vote(ABBBC, RISING, 1e-3)[0] == 4
    assert weighted_vote(ABBBC, RISING, 1e9)[0] == 3


def test_an_unscored_voter_weighs_nothing() -> None:
    assert weighted_vote(["A", "A", "B"], [None, None, -50.0], 1.0) == [2, 0]
    assert majority_of_the_bests(["A", "A", "B"], [None, None, -50.0], 3) == [2, 0]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_without_any_rewards_each_has_one_vote(rule: VotingRule) -> None:
    assert rule(["A", "B", "B"], [None] * 3) == [1, 0]


@pytest.mark.parametrize(
    ("m", "order"),
    [
        (1, "BCA"),  # the majority
        (2, "BCA"),  # A 0, B 1/10 + 2/10 + 3/10, C 4/10
        (3, "CBA"),  # A 0, B 1/10 + 3/10, C 6/10
        (5, "CBA"),  # the best reward
        (99, "CBA"),
    ],
)
def test_the_bests_of_all_subsets(m: int, order: str) -> None:
    led = majority_of_the_bests(ABBBC, RISING, m)
    assert "".join(ABBBC[place] for place in led) == order
    assert led[order.index("B")] == 3


def test_equal_chances_are_equal_whatever_the_rounding() -> None:
    """B's ranks 2 and 3 win 1/6 and 2/6 of all pairs, A's ranks 1 and 4 none and 3/6."""
    assert majority_of_the_bests(["A", "B", "B", "A"], [1.0, 2.0, 3.0, 4.0], 2)[0] == 3
    for size in range(2, 20):
        rewards = [float(reward) for reward in range(size)]
        led = majority_of_the_bests([str(i) for i in range(size)], rewards, 1)
        assert led == [*reversed(range(size))]


def test_ranks_weigh_by_their_power() -> None:
    # Ranks from the most confident: A 1 weighs 4^p, B 2 and 3 weigh 3^p + 2^p, C 4 weighs 1.
    answers, confidences = ["C", "B", "A", "B"], [-4.0, -2.0, -1.0, -3.0]
    assert borda(answers, confidences, 1.0) == [1, 2, 0]  # 5, 4, 1
    assert borda(answers, confidences, 3.0) == [2, 1, 0]  # 64, 35, 1
    # 4^p = 3^p + 2^p at p = 1.5071265916...
    assert borda(answers, confidences, 1.507126)[0] == 1
    assert borda(answers, confidences, 1.507127)[0] == 2


def test_what_the_power_leads_to() -> None:
    assert borda(ABBBC, RISING, 0.0)[0] == 3
    assert borda(ABBBC, RISING, 1000.0)[0] == 4


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_equal_confidences_share_their_ranks(order: tuple[int, ...]) -> None:
    """A and B share ranks 1 and 2, 3.5 each; the two C share 3 and 4, together 3: C is last."""
    answers, confidences = ["A", "B", "C", "C"], [-1.0, -1.0, -2.0, -2.0]
    led = borda([answers[i] for i in order], [confidences[i] for i in order], 1.0)
    assert answers[order[led[-1]]] == "C"
    # Sums of different ranks that are equal: 4 + 1 and 3 + 2. The most confident one leads.
    equal = borda([["A", "B", "B", "A"][i] for i in order], [-float(i) for i in order], 1.0)
    assert order[equal[0]] == 0
    # The two of B share ranks 2 and 3: 2.5 each and not 3, so that both answers have 5.
    answers, confidences = ["A", "B", "B", "A"], [-1.0, -2.0, -2.0, -3.0]
    shared = borda([answers[i] for i in order], [confidences[i] for i in order], 1.0)
    assert order[shared[0]] == 0


def test_one_without_confidence_weighs_nothing_and_takes_no_rank() -> None:
    assert borda(["A", "A", "B"], [None, None, -50.0], 1.0) == [2, 0]
    # A weighs 3 and B 2 + 1; among five it would be 5 and 4 + 3.
    answers, confidences = ["A", "B", "B", "C", "C"], [-1.0, -2.0, -3.0, None, None]
    assert borda(answers, confidences, 1.0) == [0, 1, 3]


@given(pool=voters)
def test_only_the_order_of_the_confidences_counts(pool: list[tuple[str, int]]) -> None:
    answers = [answer for answer, _ in pool]
    one = borda(answers, [float(c) for _, c in pool], 1.3)
    assert borda(answers, [math.exp(c) - 99 for _, c in pool], 1.3) == one


def test_subsets_have_members() -> None:
    with pytest.raises(ValueError, match="within 1 to 5"):
        majority_of_the_bests(ABBBC, RISING, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_equal_rewards_share_their_ranks(order: tuple[int, ...]) -> None:
    """By ranks 3 to 4 of 4 with m = 2, A and B have 5/12 each, and the two of C 1/12 together."""
    answers, rewards = ["A", "B", "B", "C"], [1.0, 1.0, 0.0, 0.0]
    # B is A and a little more, whichever of the equal rewards comes first.
    led = majority_of_the_bests([answers[i] for i in order], [rewards[i] for i in order], 2)
    assert [answers[order[place]] for place in led] == ["B", "A", "C"]
    assert order[led[0]] == 1


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(pool=voters, data=st.data())
def test_the_order_of_the_voters_does_not_matter(
    rule: VotingRule, pool: list[tuple[str, int]], data: st.DataObject
) -> None:
    assert winner(rule, pool) == winner(rule, data.draw(st.permutations(pool)))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(pool=voters, data=st.data())
def test_a_higher_reward_for_the_winner_keeps_it_the_winner(
    rule: VotingRule, pool: list[tuple[str, int]], data: st.DataObject
) -> None:
    first = winner(rule, pool)
    mine = [place for place, (answer, _) in enumerate(pool) if answer == first]
    raised, by = data.draw(st.sampled_from(mine)), data.draw(st.integers(1, 9))
    # By steps of 12, so that again no two are equal.
    pool[raised] = (first, pool[raised][1] + 12 * by)
    assert winner(rule, pool) == first


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(pool=voters)
def test_each_answer_is_led_by_its_best(rule: VotingRule, pool: list[tuple[str, int]]) -> None:
    answers, rewards = [a for a, _ in pool], [float(r) for _, r in pool]
    led = rule(answers, rewards)
    assert {answers[place]: rewards[place] for place in led} == {
        answer: max(r for a, r in zip(answers, rewards, strict=True) if a == answer)
        for answer in answers
    }
    assert len(led) == len(set(answers))
