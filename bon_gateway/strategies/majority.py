r"""Draw N candidates and answer with what most of them say (self-consistency).

It helps where an answer ends in something short that is right or wrong, such as a number, and the
policy is right more often than it makes any one mistake. It needs no reward model; with one, the
best candidate of the majority is sent, and rewards decide between equally frequent answers. It
harms where one mistake is the most frequent answer, and where a text has numbers but no final
answer: then numbers that mean nothing are counted. Where no two final answers are equal it is
`best_of_n`, or without a reward model one sample at N times the price.

By default the final answer is the last number, which needs no agreement with the model about a
form. If the prompt asks for a form, such as `\boxed{}` or JSON, set `extract` to it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bon_common.selection.votes import majority
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.votes import VoteSettings, VoteStrategy


class MajoritySettings(VoteSettings):
    type: Literal["majority"]

    needs_reward: ClassVar[bool] = False

    def build(self, judge: Judge) -> VoteStrategy:
        return VoteStrategy(self, judge, rule=majority, find=self.extract.build())
