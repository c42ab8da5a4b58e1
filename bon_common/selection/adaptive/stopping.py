"""Whether another sample is worth its price."""

from __future__ import annotations

from collections.abc import Sequence

from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards


def gain_of_another(rewards: Sequence[float], prior: NormalInverseGamma) -> float:
    """What one more sample is expected to add to the best of ``rewards``, in their unit. The order
    of the rewards does not matter. Raises ValueError for no rewards, or one that is not finite."""
    after = prior.posterior(PromptRewards.of(rewards))
    return expected_improvement(max(rewards), after.predictive())


def worth_another(rewards: Sequence[float], prior: NormalInverseGamma, price: float) -> bool:
    """Whether that is at least the ``price`` of a sample, in the unit of the rewards. At price 0 it
    always is.

    The rule looks one sample ahead. It is the index rule of Pandora's box (Weitzman 1979), whose
    boxes are alike here, so that it would be optimal if the distribution were known.
    """
    return gain_of_another(rewards, prior) >= price
