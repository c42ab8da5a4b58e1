"""The rule that chooses what to serve."""

from __future__ import annotations

import pytest

from bon_gateway.calibrate.figures.recommend import Servable, cheapest_good
from bon_gateway.compare.statistics import Interval


def way(name: str, tokens: float, worth: float, below: tuple[float, float, float]) -> Servable:
    return Servable(name, {"type": name}, tokens, worth, Interval(*below))


BEST = way("best", 160, 1.0, (0, 0, 0))
SINGLE = way("single", 10, 0.0, (1.0, 0.9, 1.1))


@pytest.mark.parametrize(
    ("other", "chosen"),
    [
        (way("a little worse, undecided", 80, 0.99, (0.01, -0.02, 0.04)), True),
        (way("much worse, undecided", 80, 0.8, (0.2, -0.1, 0.5)), False),
        (way("a little worse, decided", 80, 0.99, (0.01, 0.005, 0.015)), False),
        (way("as good, dearer", 200, 1.0, (0, 0, 0)), False),
        (way("as good, as dear", 160, 1.0, (0, 0, 0)), False),
    ],
)
def test_the_cheapest_that_is_as_good(other: Servable, chosen: bool) -> None:
    found = cheapest_good([SINGLE, BEST, other], SINGLE, tolerance=0.02)
    assert (found is other) == chosen


def test_what_may_be_lost_is_a_share_of_the_gain() -> None:
    other = way("other", 80, 0.99, (0.01, -0.02, 0.04))
    near, far = (way("single", 10, worth, (1 - worth, 0.2, 0.9)) for worth in (0.6, 0.4))
    assert cheapest_good([far, BEST, other], far, tolerance=0.02) is other
    assert cheapest_good([near, BEST, other], near, tolerance=0.02) is BEST
    assert cheapest_good([far, BEST, other], far, tolerance=0.0) is BEST


def test_of_equally_cheap_ones_the_better() -> None:
    first = way("first", 80, 0.99, (0.01, -0.02, 0.04))
    second = way("second", 80, 0.995, (0.005, -0.02, 0.04))
    assert cheapest_good([SINGLE, BEST, first, second], SINGLE, tolerance=0.02) is second


def test_an_undecided_gain_is_no_reason_to_draw_more() -> None:
    single = way("single", 10, 0.9, (0.1, -0.01, 0.21))
    assert cheapest_good([single, BEST], single, tolerance=0.02) is single
    decided = way("single", 10, 0.9, (0.1, 0.01, 0.19))
    assert cheapest_good([decided, BEST], decided, tolerance=0.02) is BEST
