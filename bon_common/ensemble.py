"""Several reward models that were trained alike but for their seed: one file, one joint reward.

Where the members disagree, none can be trusted: the lowest of their rewards, or their mean minus
their variance, is harder to exploit than the reward of one (Coste et al. 2023, arXiv:2310.02743).
The variance forgives small disagreement and punishes large; the standard deviation is in the
rewards' own unit, so that a penalty of 1 means the same at every size.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

NAME = "ensemble.json"
"""`bon-train reward` writes it beside the folders of the members."""

Combine = Literal["mean", "min", "mean_minus_sd", "mean_minus_variance"]
PENALISED: tuple[Combine, ...] = ("mean_minus_sd", "mean_minus_variance")
"""Ways of joining that use ``penalty``."""


class EnsembleError(ValueError):
    """Names the file and what is wrong with it."""


def read_ensemble(folder: Path) -> tuple[str, ...] | None:
    """The members of the ensemble in a folder, by their own folders, or None if there is none.

    Raises EnsembleError for a broken file.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        members = tuple(str(name) for name in json.loads(path.read_text("utf-8"))["members"])
    except (ValueError, KeyError, TypeError) as error:
        raise EnsembleError(f"{path}: not what bon-train reward writes: {error}") from error
    if not members:
        raise EnsembleError(f"{path}: no members")
    return members


def combine(
    values: Sequence[float],
    how: Combine,
    penalty: float = 1.0,
    weights: Sequence[float] | None = None,
) -> float:
    """One reward from the members' standardised rewards of the same answer.

    Raw rewards differ in zero point and scale, because a loss on differences leaves both open. So
    each member's rewards must first be standardised by its own mean and spread. ``penalty`` is the
    weight of the variance, or of the standard deviation. ``weights`` say how much each member
    counts in these and in the mean; only their ratios matter, and they have no part in ``min``.
    """
    if how == "min":
        return min(values)
    mean = statistics.fmean(values, weights)
    if how == "mean":
        return mean
    variance = statistics.fmean([(v - mean) ** 2 for v in values], weights)
    return mean - penalty * (variance if how == "mean_minus_variance" else math.sqrt(variance))
