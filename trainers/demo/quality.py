"""How good the demo world's reward model is, measured by the gold reward."""

import math
from collections.abc import Sequence
from statistics import fmean

from trainers.rewards.accuracy import ScoredPair

BINS = 10


def calibration(pairs: Sequence[ScoredPair]) -> list[dict[str, float]]:
    """What the model thinks of a preference against what it truly is, in bins of the former.

    The model's probability is sigmoid(reward difference); the true one, sigmoid(gold difference),
    is what the labels were drawn with, so no noise of labels comes in. Each pair counts both ways.
    """
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        difference = pair.chosen - pair.rejected
        assert pair.margin is not None, "gold pairs have their gap"
        for model, true in ((difference, pair.margin), (-difference, -pair.margin)):
            predicted = _sigmoid(model)
            bins[min(int(predicted * BINS), BINS - 1)].append((predicted, _sigmoid(true)))
    return [
        {
            "predicted": fmean(predicted for predicted, _ in members),
            "true": fmean(true for _, true in members),
            "pairs": len(members),
        }
        for members in bins
        if members
    ]


def calibration_error(rows: Sequence[dict[str, float]]) -> float:
    """Mean distance of the two over all pairs (expected calibration error)."""
    total = sum(row["pairs"] for row in rows)
    return sum(row["pairs"] * abs(row["predicted"] - row["true"]) for row in rows) / total


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
