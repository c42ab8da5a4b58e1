"""What is known of a prompt's rewards if some candidates were stopped before they had one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_common.selection.adaptive.prior import PromptRewards
from bon_common.selection.pruning.chance import Belief


def rewards_with(known: Sequence[float], beliefs: Sequence[Belief]) -> PromptRewards:
    """The statistics that ``known`` rewards and ``beliefs`` about others are expected to have: a
    belief counts with its mean, and adds its variance to the sum of squares. Leaving those that
    were stopped out would take the prompt for better than it is, and for less varied. Raises
    ValueError for no rewards, and for one that is not finite."""
    seen = PromptRewards.of([*known, *[belief.mean for belief in beliefs]])
    squares = seen.squares + math.fsum(belief.deviation**2 for belief in beliefs)
    return PromptRewards(seen.count, seen.mean, squares)
