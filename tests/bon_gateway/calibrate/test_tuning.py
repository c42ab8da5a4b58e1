"""A parameter is chosen on some prompts and measured on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from bon_gateway.calibrate.figures.tuning import cheapest_as_good_as, cross_fitted, highest
from bon_gateway.calibrate.figures.ways import Tunable, TunedBestOfN, WayColumns
from bon_gateway.calibrate.pools import CalibrationPrompts
from tests.bon_gateway.calibrate.kit import prompts_of
from tests.bon_gateway.replay.kit import candidates, line, write


class Told(Tunable):
    """Its columns are told: for each value the gold at each prompt."""

    name, key = "told", "value"

    def __init__(self, prompts: CalibrationPrompts, golds: Mapping[float, Sequence[float]]) -> None:
        super().__init__(prompts, 1)
        self._golds = golds

    @property
    def values(self) -> Sequence[float]:
        return [*self._golds]

    def _columns(self, value: float) -> WayColumns:
        golds = self._golds[value]
        count = len(golds)
        return WayColumns(golds, [0.0] * count, [value] * count, [10 * value] * count)


@pytest.fixture
def prompts(tmp_path: Path) -> CalibrationPrompts:
    drawn = candidates([0.0, 1.0], golds=[0.0, 1.0])
    lines = [line(drawn, f"{i}") for i in range(4)]
    return prompts_of(write(tmp_path / "p.jsonl", lines), folds=2)


def of_folds(prompts: CalibrationPrompts, first: float, second: float) -> list[float]:
    return [second if fold else first for fold in prompts.folds]


def test_each_fold_is_measured_by_what_the_other_chose(prompts: CalibrationPrompts) -> None:
    """Value 1 suits the first fold, value 2 the second, and value 3 all of them a little."""
    golds = {
        1.0: of_folds(prompts, 1.0, 0.0),
        2.0: of_folds(prompts, 0.0, 1.0),
        3.0: of_folds(prompts, 0.6, 0.6),
    }
    found = cross_fitted(Told(prompts, golds), prompts, highest)
    assert found.of_folds == (2, 1)
    assert found.value == 3
    assert found.fitted == pytest.approx(0.6)
    assert found.held_out.golds == [0, 0, 0, 0]
    assert found.held_out.tokens == of_folds(prompts, 20.0, 10.0)


def test_of_equally_good_values_the_first_is_taken(prompts: CalibrationPrompts) -> None:
    golds = {2.0: [1.0] * 4, 1.0: [1.0 + 1e-15] * 4, 3.0: [0.5] * 4}
    assert highest(Told(prompts, golds), range(4)) == 2


def test_the_root_between_two_values_is_found(prompts: CalibrationPrompts) -> None:
    class Smooth(Told):
        def _columns(self, value: float) -> WayColumns:
            return WayColumns([-((value - 2.34567) ** 2)] * 4, [0.0] * 4, [1.0] * 4, [1.0] * 4)

        def slope(self, value: float, places: Sequence[int]) -> float | None:
            return -2 * (value - 2.34567)

    found = highest(Smooth(prompts, {1.0: [], 2.0: [], 4.0: []}), range(4))
    assert found == 2.35


def test_the_cheapest_that_is_as_good(prompts: CalibrationPrompts) -> None:
    best = TunedBestOfN(prompts, 2)
    curve = [best.columns(1), best.columns(2)]
    assert [own.mean_worth(range(4)) for own in curve] == [0.5, 1.0]
    golds = {value: [gold] * 4 for value, gold in ((8.0, 1.0), (4.0, 0.99), (2.0, 0.98), (1.0, 0))}
    told = Told(prompts, golds)
    assert cheapest_as_good_as(curve, 0.0)(told, range(4)) == 8
    assert cheapest_as_good_as(curve, 0.02)(told, range(4)) == 4
    assert cheapest_as_good_as(curve, 0.05)(told, range(4)) == 2
    poor = Told(prompts, {3.0: [0.1] * 4, 4.0: [0.2] * 4, 1.0: [0.1] * 4})
    assert cheapest_as_good_as(curve, 0.0)(poor, range(4)) == 4
    assert fmean(poor.columns(4).worths) < curve[0].mean_worth(range(4))
