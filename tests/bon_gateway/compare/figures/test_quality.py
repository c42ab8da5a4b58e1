from __future__ import annotations

import math
from statistics import fmean

import pytest

from bon_common.best_of_n import best_of_n
from bon_gateway.compare.figures.quality import Sampled, estimated_curve, matched_n, pareto
from bon_gateway.compare.statistics import Resamples


def test_the_curve_is_the_estimator_prompt_by_prompt() -> None:
    first = Sampled([1.0, 2.0, 3.0], [5.0, 1.0, 2.0])
    second = Sampled([0.0, 0.0, 1.0], [1.0, 3.0, 0.0])
    curve = estimated_curve([[first, second], [second]], 3)
    assert list(curve) == [1, 2, 3]
    for n in curve:
        each = [best_of_n(s.proxy, s.quality, n) for s in (first, second)]
        assert list(curve[n]) == pytest.approx([fmean(each), each[1]], abs=1e-9)


def test_the_matched_n_is_the_smallest() -> None:
    resamples = Resamples(4, 100, 0.95, 0)
    curve = {1: [0.0] * 4, 2: [1.0] * 4, 4: [1.5] * 4, 8: [1.4] * 4}
    for wanted, n in ((-1.0, 1), (0.0, 1), (0.5, 2), (1.0, 2), (1.45, 4), (2.0, math.inf)):
        matched = matched_n(curve, [wanted] * 4, resamples)
        assert (matched.low, matched.value, matched.high) == (n, n, n)


def test_the_front() -> None:
    places = {
        "dear": (4.0, 2.0),
        "cheap": (1.0, 1.0),
        "beaten": (3.0, 0.5),
        "same price, worse": (1.0, 0.9),
        "same quality, dearer": (5.0, 2.0),
    }
    assert pareto(places) == ["cheap", "dear"]
