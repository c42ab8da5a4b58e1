"""Draw N candidates and answer with what would win best-of-m most often (arXiv 2511.18630).

It asks which final answer has the best reward in most subsets of m candidates, and computes that
exactly. Only the order of the rewards counts. With `m` 1 it is `majority`, with `m` N the best
reward of all that have a final answer wins.

It helps where the reward model is right more often than not, and wrong about single candidates: one
wrong candidate with a high reward wins `best_of_n`, but few subsets hold it. It harms where one
candidate alone is right and the reward model knows it: then `best_of_n` finds it, and here frequent
mistakes may outvote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import PositiveInt

from bon_common.selection.votes import Rewards, majority_of_the_bests
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.votes import VoteSettings, VoteStrategy


class MajorityOfTheBestsSettings(VoteSettings):
    type: Literal["majority_of_the_bests"]
    m: PositiveInt | None = None
    """Size of the subsets; if there are fewer scored candidates, their number. None takes the
    square root of their number, rounded: on a logarithmic scale halfway from ``majority`` to
    ``best_of_n``. Raise it to trust the reward model more."""

    def build(self, referee: Referee) -> VoteStrategy:
        rule = partial(_of_subsets, m=self.m)
        return VoteStrategy(self, referee, rule=rule, find=self.extract.build())


def _of_subsets(answers: Sequence[str], rewards: Rewards, m: int | None) -> list[int]:
    scored = sum(reward is not None for reward in rewards)
    size = max(1, round(scored**0.5)) if m is None else m
    return majority_of_the_bests(answers, rewards, size)
