"""Draw N candidates and answer with what the best of them say together.

Each candidate's vote weighs exp(reward / `reward_temperature`), and the final answer with the
largest sum wins. Raw rewards may be negative, so their plain sum would make an answer lose by being
frequent.

It helps where both say something: which answer is frequent, and which answer the reward model
likes. It harms where the temperature does not fit the reward model: far below the rewards' spread
it is `best_of_n`, far above it `majority`. Where the most frequent mistake also has high rewards,
both are wrong together.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import PositiveFloat

from bon_common.selection.votes import weighted_vote
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.votes import VoteSettings, VoteStrategy


class WeightedVoteSettings(VoteSettings):
    type: Literal["weighted_vote"]
    reward_temperature: PositiveFloat = 1.0
    """Difference between two raw rewards that makes one vote weigh 2.7 times the other. 1 fits a
    reward model whose differences are log-odds of preference, as Bradley-Terry training means them.
    Raise it to trust the reward model less."""

    def build(self, referee: Referee) -> VoteStrategy:
        rule = partial(weighted_vote, temperature=self.reward_temperature)
        return VoteStrategy(self, referee, rule=rule, find=self.extract.build())
