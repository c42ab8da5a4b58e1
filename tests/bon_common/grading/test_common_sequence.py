"""The longest common subsequence, against the textbook's table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.grading.common_sequence import common_length, fuzzy_match


def by_table(left: str, right: str) -> int:
    row = [0] * (len(right) + 1)
    for one in left:
        before = row
        row = [0]
        for place, other in enumerate(right):
            row.append(before[place] + 1 if one == other else max(before[place + 1], row[-1]))
    return row[-1]


@given(st.text("abc", max_size=30), st.text("abcd", max_size=30))
def test_the_length_is_that_of_the_table(left: str, right: str) -> None:
    assert common_length(left, right) == by_table(left, right)


@pytest.mark.parametrize(
    ("left", "right", "ratio"),
    [
        ("this is a test", "this is a test!", 28 / 29),
        ("", "", 1.0),
        ("a", "", 0.0),
        ("ab", "ba", 0.5),
    ],
)
def test_fuzzy_match(left: str, right: str, ratio: float) -> None:
    assert fuzzy_match(left, right) == pytest.approx(ratio)
