"""Whether another sample is worth its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.gain import GainModel


@dataclass(frozen=True, slots=True)
class PriceRule:
    """Draw another sample as long as its expected gain is at least its price.

    It looks one sample ahead, as in Pandora's box (Weitzman 1979): if the distribution were known
    and samples came one by one, no rule would do better.
    """

    model: GainModel
    price: float
    """Of one sample, in the unit of the rewards. At 0 another one is always worth it."""

    def worth_another(self, rewards: Sequence[float], waiting: float = 0.0) -> bool:
        """Whether one more is worth it after ``rewards``, if waiting for it costs ``waiting``, in
        the same unit. See ``GainModel.gain``."""
        return self.model.gain(rewards) >= self.price + waiting
