"""A mean that is never negative, learnt from examples: the exponential of a linear function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = 30
LARGEST_STEP = 1.0
"""Of the exponent's weights in one Newton step: further out the quadratic model is wrong."""
CLOSE = 1e-6
"""A smaller step is the last."""
HALVINGS = 60
"""Of one step that leads too far."""
LARGEST_EXPONENT = 300.0
"""A mean beyond it is never right, and sums of such means would overflow."""
LEAST_MEAN = 1e-12
"""Of the targets; where all are 0 the mean is as good as 0 everywhere."""
LEAST_SPREAD = 1e-9


@dataclass(frozen=True, slots=True)
class LogLinear:
    """``mean`` of a target, given its features. Weights belong to standardised features."""

    bias: float
    weights: tuple[float, ...]
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    """Each feature's range in the examples. Nothing is extrapolated beyond it."""

    def mean(self, features: Sequence[float]) -> float:
        total = self.bias
        for value, weight, centre, spread, (low, high) in zip(
            features, self.weights, self.centres, self.spreads, self.bounds, strict=True
        ):
            total += weight * (min(max(value, low), high) - centre) / spread
        return math.exp(total)


def fit_log_linear(
    rows: Sequence[Sequence[float]], targets: Sequence[float], ridge: float
) -> LogLinear:
    """The LogLinear that makes the non-negative ``targets`` likeliest as Poisson means, by Newton's
    method. Only the mean has to be right for that, not the distribution (Gourieroux, Monfort and
    Trognon 1984). ``ridge`` examples' worth of doubt pulls each weight to 0. Raises ValueError
    without rows."""
    if not rows:
        raise ValueError("needs at least one row")
    columns = [*zip(*rows, strict=True)]
    centres = [math.fsum(column) / len(rows) for column in columns]
    spreads = [_spread(column, centre) for column, centre in zip(columns, centres, strict=True)]
    points = [
        (1.0, *[(v - c) / s for v, c, s in zip(row, centres, spreads, strict=True)]) for row in rows
    ]
    typical = max(math.fsum(targets) / len(rows), LEAST_MEAN)
    weights = [math.log(typical)] + [0.0] * len(columns)
    pull = [0.0] + [ridge * typical] * len(columns)
    for _ in range(STEPS):
        step = _newton_step(points, targets, weights, pull)
        largest = max(map(abs, step))
        if largest < CLOSE:
            weights = _moved(weights, step, 1.0)
            break
        weights = _uphill(points, targets, weights, pull, step, min(1.0, LARGEST_STEP / largest))
    bounds = tuple((min(column), max(column)) for column in columns)
    return LogLinear(weights[0], tuple(weights[1:]), tuple(centres), tuple(spreads), bounds)


def _spread(column: Sequence[float], centre: float) -> float:
    """The standard deviation; 1 for a feature that does not vary, whose weight then stays 0."""
    spread = math.sqrt(math.fsum((value - centre) ** 2 for value in column) / len(column))
    return spread if spread > LEAST_SPREAD else 1.0


def _uphill(
    points: Sequence[Sequence[float]],
    targets: Sequence[float],
    weights: Sequence[float],
    pull: Sequence[float],
    step: Sequence[float],
    part: float,
) -> list[float]:
    """``weights`` and ``part`` of ``step``, or as much less of it as makes ``targets`` likelier. A
    feature that few rows have is large there, so a small step can multiply their means by e^40."""
    here = _log_likelihood(points, targets, weights, pull)
    for _ in range(HALVINGS):
        there = _moved(weights, step, part)
        if _log_likelihood(points, targets, there, pull) >= here:
            return there
        part /= 2
    return list(weights)


def _moved(weights: Sequence[float], step: Sequence[float], part: float) -> list[float]:
    return [weight + part * by for weight, by in zip(weights, step, strict=True)]


def _log_likelihood(
    points: Sequence[Sequence[float]],
    targets: Sequence[float],
    weights: Sequence[float],
    pull: Sequence[float],
) -> float:
    """What Newton's method makes large: concave, up to a constant, with the ridge in it."""
    exponents = [sum([w * x for w, x in zip(weights, point, strict=True)]) for point in points]
    if max(exponents) > LARGEST_EXPONENT:
        return -math.inf
    likely = math.fsum([t * e - math.exp(e) for t, e in zip(targets, exponents, strict=True)])
    return likely - math.fsum([p * w * w for p, w in zip(pull, weights, strict=True)]) / 2


def _newton_step(
    points: Sequence[Sequence[float]],
    targets: Sequence[float],
    weights: Sequence[float],
    pull: Sequence[float],
) -> list[float]:
    size = len(weights)
    gradient = [-p * w for p, w in zip(pull, weights, strict=True)]
    curvature = [[pull[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
    for point, target in zip(points, targets, strict=True):
        mean = math.exp(sum([w * x for w, x in zip(weights, point, strict=True)]))
        for i, value in enumerate(point):
            gradient[i] += (target - mean) * value
            weighted, row = mean * value, curvature[i]
            for j in range(i + 1):
                row[j] += weighted * point[j]
    return solved(curvature, gradient)


def solved(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve A x = ``right`` by Cholesky's method. ``lower`` holds A; only its lower triangle is
    read. Raises ArithmeticError if A is not positive definite."""
    size = len(right)
    root = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = lower[i][j] - math.fsum(root[i][k] * root[j][k] for k in range(j))
            if i > j:
                root[i][j] = rest / root[j][j]
            elif rest > 0:
                root[i][i] = math.sqrt(rest)
            else:
                raise ArithmeticError("the matrix is not positive definite")
    found = [0.0] * size
    for i in range(size):
        found[i] = (right[i] - math.fsum(root[i][k] * found[k] for k in range(i))) / root[i][i]
    for i in reversed(range(size)):
        above = math.fsum(root[k][i] * found[k] for k in range(i + 1, size))
        found[i] = (found[i] - above) / root[i][i]
    return found
