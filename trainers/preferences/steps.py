"""The six-step scale on which people compare two answers, and the margin of each step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainers.base.lines import BadLineError

TIES = frozenset({"tie", "equal", "same", "about the same", "unsure", "negligibly better"})
"""Words for no preference, which is not a step of the scale."""
STEP_MARGINS: Mapping[str, float] = MappingProxyType(
    {"significantly better": 3.0, "better": 2.0, "slightly better": 1.0}
)
"""Llama 2 (Touvron et al. 2023, arXiv:2307.09288, appendix A.3.3) trained with such margins."""
BETTER = tuple(STEP_MARGINS)


def margin_of_step(step: str, margins: Mapping[str, float]) -> float:
    """How much better the first answer is: positive, negative, or 0 for a tie.

    `step` is one of "significantly better", "better", "slightly better", the same with "worse",
    or a word for a tie; capitals, spaces and underscores do not matter. `margins` holds the
    numbers of the better half. Raises BadLineError for anything else.
    """
    words = " ".join(step.replace("_", " ").lower().split())
    if words in TIES:
        return 0.0
    mirrored = words.removesuffix("worse") + "better" if words.endswith("worse") else words
    if mirrored not in margins:
        raise BadLineError(f"preference: {step!r} is no step of the scale")
    return margins[mirrored] if mirrored == words else -margins[mirrored]
