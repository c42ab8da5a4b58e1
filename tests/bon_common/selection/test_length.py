"""The part of a reward that is length: nothing of an injected slope is left."""

from __future__ import annotations

import random

import pytest

from bon_common.selection.length import without_length
from bon_common.selection.within import WithinSums


def test_closed_values() -> None:
    assert without_length(3.0, 250, 0.02, 100) == pytest.approx(0.0, abs=1e-9)
    assert without_length(3.0, 100, 0.02, 100) == 3.0


def test_an_injected_slope_is_found_and_nothing_is_left_of_it() -> None:
    source = random.Random(7)
    prompts = []
    for _ in range(300):
        level = source.gauss(0, 3)
        lengths = [source.randrange(10, 900) for _ in range(8)]
        prompts.append([(level + source.gauss(0, 1) + 0.02 * n, float(n)) for n in lengths])
    fitted = WithinSums.of(prompts)
    # The standard error is 1 / sqrt(2100 x 66000), about 0.0001.
    assert fitted.slope == pytest.approx(0.02, abs=0.0005)
    assert fitted.correlation is not None
    assert fitted.correlation > 0.9
    assert fitted.slope is not None
    slope = fitted.slope
    left = WithinSums.of([[(without_length(r, n, slope, 0), n) for r, n in own] for own in prompts])
    assert left.correlation == pytest.approx(0, abs=1e-9)
    assert left.slope == pytest.approx(0, abs=1e-9)
