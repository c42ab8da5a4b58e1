"""The criteria of a judge, with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from bon_common.settings.weights import Weight
from bon_gateway.sections.base import Section

MOST_CRITERIA = 32


class CriterionSettings(Section):
    text: Annotated[str, Field(min_length=1)]
    """The question about an answer, as the judge reads it."""
    weight: Weight = 1.0
    """Its weight in the reward; only ratios matter."""


DEFAULT = CriterionSettings(
    text="Does it do what the user wants, and is it right, complete, clear and safe?"
    " Length is no merit."
)

COMPARED = (
    "Judge which one does what the user wants, and is right, complete, clear and safe."
    " Length is no merit."
)
"""The criterion for methods that show several answers at once."""


def joint(grades: Sequence[float | None], criteria: Sequence[CriterionSettings]) -> float | None:
    """The weighted mean; None if the grade of a criterion is missing."""
    known = [grade for grade in grades if grade is not None]
    if len(known) < len(criteria):
        return None
    weights = [criterion.weight for criterion in criteria]
    return sum(g * w for g, w in zip(known, weights, strict=True)) / sum(weights)


Criteria = Annotated[tuple[CriterionSettings, ...], Field(min_length=1, max_length=MOST_CRITERIA)]
