"""Whether another sample is worth its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards


@dataclass(frozen=True, slots=True)
class PriceRule:
    """Draw another sample as long as its expected gain is at least its price.

    It looks one sample ahead, as in Pandora's box (Weitzman 1979): if the distribution were known
    and samples came one by one, no rule would do better.
    """

    prior: NormalInverseGamma
    price: float
    """Of one sample, in the unit of the rewards. At 0 another one is always worth it."""

    def worth_another(self, rewards: Sequence[float]) -> bool:
        """Whether one more is worth it after ``rewards``. See ``gain_of_another``."""
        return self.gain_of_another(rewards) >= self.price

    def gain_of_another(self, rewards: Sequence[float]) -> float:
        """What one more sample is expected to add to the best of ``rewards``, in their unit. Their
        order does not matter. Raises ValueError for no rewards, or one that is not finite."""
        return self.gain_after(PromptRewards.of(rewards), max(rewards))

    def gain_after(self, seen: PromptRewards, best: float) -> float:
        """The same after rewards of which only the statistics are known, and the ``best``."""
        return expected_improvement(best, self.prior.posterior(seen).predictive())
