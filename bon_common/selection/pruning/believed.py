"""What is known of a prompt's rewards if some candidates were stopped before they had one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_common.selection.pruning.chance import Belief


def stand_ins(beliefs: Sequence[Belief], best: float) -> list[float]:
    """A reward for each candidate that was stopped, in no order: its belief's mean, plus and minus
    its deviation in turns from the lowest mean on. So they vary as the true rewards are expected
    to: leaving them out would take the prompt for better than it is, and their means alone for less
    varied. None is above ``best``, which is the best reward that is known. Raises ValueError for
    one that is not finite.
    """
    if not math.isfinite(best):
        raise ValueError(f"the best reward is not finite: {best}")
    found = []
    for place, belief in enumerate(sorted(beliefs, key=lambda b: (b.mean, b.deviation))):
        value = belief.mean + (belief.deviation if place % 2 else -belief.deviation)
        if not math.isfinite(value):
            raise ValueError(f"a belief is not finite: {belief}")
        found.append(value if value < best else min(belief.mean, best))
    return found
