"""Votes among final answers.

Candidates with equal final answers are one class, and a class wins by what its members have
together. Each rule takes one final answer and one raw reward for each voter, or a confidence in the
reward's place; either may be missing. It returns one place for each class, best class first: that
of the member with the best reward, or of the first member where rewards are equal or missing. Who
may vote, and what a final answer is, others decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bon_common.best_of_n import chances_to_be_best

Rewards = Sequence[float | None]
VotingRule = Callable[[Sequence[str], Rewards], list[int]]
"""From final answers and rewards to the places that lead their classes, best class first."""

DIGITS = 12
"""Sums of weights that differ less are equal but for rounding; then the best reward decides."""

_NONE = -math.inf
"""What a missing reward is worth: less than any other."""


def majority(answers: Sequence[str], rewards: Rewards) -> list[int]:
    """The most frequent answer first (self-consistency, Wang et al. 2022, arXiv:2203.11171).

    Among equally frequent answers the one with the higher mean reward goes first. For complete
    rewards this is the order of their sums; where some are missing, a sum would punish the answer
    that has more of them.
    """

    def standing(places: Sequence[int]) -> tuple[float, float]:
        known = [reward for p in places if (reward := rewards[p]) is not None]
        # Scaled down before the sum, so that large rewards cannot overflow.
        return len(places), math.fsum(r / len(known) for r in known) if known else _NONE

    return _leaders(answers, rewards, standing)


def weighted_vote(answers: Sequence[str], rewards: Rewards, temperature: float) -> list[int]:
    """The answer with the largest sum of weights first; a reward r weighs exp(r / temperature).

    Weighted voting by a verifier (Li et al. 2022, arXiv:2206.02336) sums its scores, which are
    positive there. Raw rewards may be negative: as a sum of them, an answer would lose by being
    frequent, and adding a constant to all rewards would change the winner. The exponential is
    positive, and a constant scales all weights alike. For a reward model of the Bradley-Terry kind
    and temperature 1, exp(r) is what its preferences are proportional to.

    ``temperature`` is in units of the reward and above 0: towards 0 the best single reward decides,
    towards infinity the number of votes. A voter without a reward weighs nothing. Without any
    rewards it is ``majority``.
    """
    known = [reward for reward in rewards if reward is not None]
    if not known:
        return majority(answers, rewards)
    best = max(known)
    # Relative to the best, so that no exponential overflows; those far below it become 0.
    weights = [0.0 if r is None else math.exp((r - best) / temperature) for r in rewards]
    return _leaders(answers, rewards, _sum_then_best(weights, rewards))


def majority_of_the_bests(answers: Sequence[str], rewards: Rewards, m: int) -> list[int]:
    """The answer first that most often wins best-of-m, over all subsets of m scored voters (Rakhsha
    et al. 2025, arXiv:2511.18630, with subsets in place of the bootstrap's draws: no sampling).

    With ``m`` = 1 the most frequent answer wins, with all of them the best reward. An ``m`` above
    the number of scored voters counts as that number. Equal rewards win equally often, so the order
    of the voters does not matter. A voter without a reward weighs nothing. Without any rewards it
    is ``majority``. Raises ValueError for ``m`` below 1.
    """
    scored = [place for place, reward in enumerate(rewards) if reward is not None]
    if not scored:
        return majority(answers, rewards)
    known = [reward for reward in rewards if reward is not None]
    weights = [0.0] * len(rewards)
    for place, chance in zip(scored, chances_to_be_best(known, min(m, len(known))), strict=True):
        weights[place] = chance
    return _leaders(answers, rewards, _sum_then_best(weights, rewards, digits=DIGITS))


def borda(answers: Sequence[str], confidences: Rewards, p: float) -> list[int]:
    """The answer with the largest sum of weights first; the voter of rank r among N weighs
    (N - r + 1)^p. Rank 1 is the most confident.

    Borda voting by self-certainty (Kang et al. 2025, arXiv:2502.18581). Only the order of the
    confidences counts, so any measure of confidence may be used. ``p`` is at least 0: with 0 all
    votes weigh the same, with 1 it is Borda's count, and towards infinity the most confident voter
    decides. Equal confidences weigh equally, the mean of what their ranks weigh, so the order of
    the voters does not matter. N counts voters with a confidence; one without weighs nothing.
    Without any confidences it is ``majority``. The most confident member leads its class.
    """
    known = sorted({value for value in confidences if value is not None})
    if not known:
        return majority(answers, confidences)
    weights, below = {}, 0
    total = sum(value is not None for value in confidences)
    for value in known:
        tied = sum(other == value for other in confidences)
        # Relative to the largest, so that no power overflows. From the lowest rank up.
        powers = [(place / total) ** p for place in range(below + 1, below + tied + 1)]
        weights[value] = math.fsum(powers) / tied
        below += tied
    of_each = [0.0 if value is None else weights[value] for value in confidences]
    return _leaders(answers, confidences, _sum_then_best(of_each, confidences, digits=DIGITS))


Standing = Callable[[Sequence[int]], tuple[float, float]]
"""What a class has, from the places of its members: the larger, the better."""


def _sum_then_best(
    weights: Sequence[float], rewards: Rewards, digits: int | None = None
) -> Standing:
    def standing(places: Sequence[int]) -> tuple[float, float]:
        # An exactly rounded sum, because the order of the voters must not decide.
        total = math.fsum(weights[p] for p in places)
        best = max(_worth(rewards[p]) for p in places)
        return (total if digits is None else round(total, digits)), best

    return standing


def _leaders(answers: Sequence[str], rewards: Rewards, standing: Standing) -> list[int]:
    classes: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        classes.setdefault(answer, []).append(place)
    # Sorting keeps the order of equal classes: that of their first members.
    best_first = sorted(classes.values(), key=standing, reverse=True)
    return [max(places, key=lambda p: _worth(rewards[p])) for places in best_first]


def _worth(reward: float | None) -> float:
    return _NONE if reward is None else reward
