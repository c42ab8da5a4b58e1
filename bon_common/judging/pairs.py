"""One preference from two verdicts on the same two answers, one in each order.

Judges prefer an answer for its place (Zheng et al. 2023, arXiv:2306.05685). So the judge is asked
twice, with the answers in both orders. A preference is a number: 1 if the first answer is better, 0
if the second one is, 0.5 for a tie, and in between the probability that the first is better. A
verdict is the preference for the answer shown first; None is an abstention.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bon_common.judging.prompts import Choice

TIE = 0.5
PREFERENCES: Mapping[Choice, float] = MappingProxyType({"A": 1.0, "B": 0.0, "TIE": TIE})
"""Preferences by written verdict."""


def agreed(straight: float, swapped: float) -> float | None:
    """The preference on which both verdicts agree; None if it changes with the order.

    ``swapped`` is the verdict with the places changed.
    """
    return straight if straight == 1 - swapped else None


def settled(straight: float | None, swapped: float | None) -> float | None:
    """The preference from two written verdicts: one that changes with the order is a tie. None
    without both verdicts: one verdict may be due to the place alone."""
    if straight is None or swapped is None:
        return None
    known = agreed(straight, swapped)
    return TIE if known is None else known


def averaged(straight: float | None, swapped: float | None) -> float | None:
    """The preference from two verdicts that are probabilities: their mean.

    A judge may add a constant to the log-odds of the answer shown first. That changes how far the
    mean is from a tie, but never which answer it prefers. None without both verdicts.
    """
    if straight is None or swapped is None:
        return None
    # In this order equal verdicts make exactly a tie, whatever the rounding.
    return TIE + (straight - swapped) / 2
