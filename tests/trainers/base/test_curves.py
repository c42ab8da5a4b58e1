"""The grid of a run's curves: each line within its frame, whatever was logged."""

from __future__ import annotations

import math
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from trainers.base.curves import curve_grid
from trainers.base.plots import BLUE, RED


def drawn(*runs: list[dict[str, Any]], names: tuple[str, ...]) -> Figure:
    figure = Figure()
    curve_grid(figure, runs, dict(zip(names, (BLUE, RED), strict=False)), "step")
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def lines(figure: Figure) -> list[Line2D]:
    return [artist for artist in figure.artists if isinstance(artist, Line2D)]


def points(line: Line2D) -> Any:
    return line.get_xydata()


def heights(line: Line2D) -> list[float]:
    return [float(y) for _, y in points(line)]


def test_lines_keep_their_order_place_and_colour() -> None:
    run = [{"step": i, "loss": 1.0 - 0.1 * i, "norm": 40.0 + i} for i in range(1, 6)]
    figure = drawn(run, names=("loss", "norm"))
    left, right = lines(figure)
    assert (left.get_color(), right.get_color()) == (BLUE, RED)
    ends = [line.get_transform().transform(points(line)) for line in (left, right)]
    width = figure.bbox.width
    assert 0 < ends[0][:, 0].min() < ends[0][:, 0].max() < width / 2 < ends[1][:, 0].min() < width
    # The loss falls, the norm rises.
    assert ends[0][0, 1] > ends[0][-1, 1]
    assert ends[1][0, 1] < ends[1][-1, 1]
    for end in ends:
        assert 0 < end[:, 1].min() < end[:, 1].max() < figure.bbox.height
    assert texts(figure).count("step") == 2
    assert {"loss", "0.6", "0.75"} <= set(texts(figure))


@pytest.mark.parametrize(
    "values", [[2.0, 2.0, 2.0], [0.0], [1.0, math.nan, 3.0], [1.0, math.inf, -math.inf], [math.nan]]
)
def test_values_without_a_range_are_no_trouble(values: list[float]) -> None:
    figure = drawn([{"step": i, "loss": x} for i, x in enumerate(values)], names=("loss",))
    [line] = lines(figure)
    assert heights(line) == pytest.approx(values, nan_ok=True)
    figure.canvas.draw()
    assert all("nan" not in text and "inf" not in text for text in texts(figure))


def test_several_runs_are_a_mean_in_a_band() -> None:
    runs = [[{"step": i, "loss": i * slope} for i in (1, 2, 3)] for slope in (1.0, 3.0)]
    figure = drawn(*runs, names=("loss",))
    [line] = lines(figure)
    assert heights(line) == [2.0, 4.0, 6.0]
    [band] = [artist for artist in figure.artists if isinstance(artist, Polygon)]
    assert max(float(y) for _, y in band.get_xy()) == pytest.approx(6 + 2**0.5 * 3, abs=1e-3)
