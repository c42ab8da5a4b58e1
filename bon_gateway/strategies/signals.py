"""How sure the policy was of a candidate: one section of settings for each way to read that from
the log-probabilities of its tokens.

All tokens that the policy generated count, those of its thinking and of tool calls too.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Discriminator, Field, PositiveInt

from bon_common.selection.confidence import lowest_group, mean, self_certainty, token_confidence
from bon_gateway.sections.base import Component
from bon_gateway.types import Signal

MOST_TOP = 100


class SignalSettings(Component):
    @abstractmethod
    def build(self) -> Signal:
        """The signal that strategies give to the policy."""


class MeanLogprobSettings(SignalSettings):
    """The mean log-probability of the tokens, 0 or less. It needs no alternatives, so the policy's
    answers grow least. Its favourite is what the policy would say at temperature 0: on a small real
    model the most confident of 16 were right as often as greedy decoding, and no more often. So
    compare it with one sample at temperature 0, at a sixteenth of the price."""

    type: Literal["mean_logprob"] = "mean_logprob"

    def build(self) -> Signal:
        return Signal(0, mean, mean)


class SelfCertaintySettings(SignalSettings):
    """How far from uniform the policy's distribution is, as the mean over the tokens, 0 or more
    (self-certainty, arXiv:2502.18581). The paper takes the whole vocabulary. An engine tells only
    the likeliest tokens, so here it is the distribution among those ``top_logprobs``, renormalised:
    0 if all of them are equally likely."""

    type: Literal["self_certainty"]
    top_logprobs: Annotated[int, Field(ge=2, le=MOST_TOP)] = 5
    """How many of the likeliest tokens it reads. The policy is asked for one more, because vLLM
    lists the token drawn among them, even if it is not one of the likeliest. So vLLM allows up to
    19, or one less than its ``--max-logprobs``."""

    def build(self) -> Signal:
        return Signal(self.top_logprobs, self_certainty, mean)


class LowestGroupSettings(SignalSettings):
    """How sure the policy was where it was least sure (DeepConf's lowest group confidence,
    arXiv:2508.15260). A token's confidence is the negative mean log-probability of the
    ``top_logprobs`` likeliest tokens, a group's the mean over ``window`` successive tokens. An
    answer that has one bad stretch loses, however sure the rest is. For answers shorter than the
    window it is the mean over all tokens."""

    type: Literal["lowest_group"]
    top_logprobs: Annotated[int, Field(ge=1, le=MOST_TOP)] = 5
    """How many of the likeliest tokens it reads, at most 19 from vLLM, as for ``self_certainty``.
    The authors' code takes 20. Each one more makes the policy's answer larger by some 70 bytes a
    token."""
    window: PositiveInt = 2048
    """Tokens in a group, 2048 in the paper, whose answers are long. Lower it for short ones."""

    def build(self) -> Signal:
        lowest = partial(lowest_group, window=self.window)
        return Signal(self.top_logprobs, token_confidence, lowest)


SIGNALS: tuple[type[SignalSettings], ...] = (
    MeanLogprobSettings,
    SelfCertaintySettings,
    LowestGroupSettings,
)
"""All that lists the signals is derived from this tuple: the settings, docs/settings.md, the
chart's schema."""

if TYPE_CHECKING:
    AnySignal = SignalSettings
else:
    AnySignal = Annotated[(Union[SIGNALS], Discriminator("type"))]  # noqa: UP007 - of a tuple

MEAN_LOGPROB = MeanLogprobSettings().build()
"""What ``fallback: confidence`` measures."""
