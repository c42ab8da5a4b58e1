"""Reads a judge's order of several answers."""

from __future__ import annotations

import pytest

from bon_common.judging.rankings import read_ranking


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ("B is best. [[B > A > C]]", {"B": 0, "A": -1, "C": -2}),
        ("[[A > B > C]], no: [[ c>B = a ]]", {"C": 0, "B": -1, "A": -1}),
        ("[[A > B]]", None),
        ("[[A > B > B]]", None),
        ("[[A > B > C > D]]", None),
        ("A > B > C", None),
        ("[[A]]", None),
        ("", None),
    ],
)
def test_the_last_order_that_names_each_once(reply: str, values: dict[str, float] | None) -> None:
    assert read_ranking(reply, "ABC") == values
