"""The part of a reward that is length: an injected slope is found, and nothing of it is left."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.length import length_slope, without_length

PROMPTS = st.lists(
    st.lists(st.tuples(st.integers(0, 4000), st.floats(-10, 10)), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
).filter(lambda prompts: any(len({length for length, _ in own}) > 1 for own in prompts))
Columns = list[tuple[list[int], list[float]]]


def columns(prompts: list[list[tuple[int, float]]]) -> Columns:
    return [([length for length, _ in own], [reward for _, reward in own]) for own in prompts]


def without(prompts: Columns, slope: float) -> Columns:
    return [
        (lengths, [without_length(r, n, slope, 0) for n, r in zip(lengths, rewards, strict=True)])
        for lengths, rewards in prompts
    ]


def test_closed_values() -> None:
    # Within prompts: (-1, -1), (1, 1) and (-1, -3), (1, 3): 8 over 4.
    assert length_slope([([1, 3], [0.0, 2.0]), ([5, 7], [-9.0, -3.0])]) == pytest.approx(
        2, abs=1e-9
    )
    # Between prompts longer ones have lower rewards, which does not count.
    assert length_slope([([1, 2], [9.0, 9.5]), ([101, 102], [0.0, 0.5])]) == pytest.approx(
        0.5, abs=1e-9
    )
    assert without_length(3.0, 250, 0.02, 100) == pytest.approx(0.0, abs=1e-9)
    assert without_length(3.0, 100, 0.02, 100) == 3.0


def test_an_injected_slope_is_found_and_nothing_is_left_of_it() -> None:
    source = random.Random(7)
    prompts = []
    for _ in range(300):
        lengths = [source.randrange(10, 900) for _ in range(8)]
        level = source.gauss(0, 3)
        rewards = [level + source.gauss(0, 1) + 0.02 * length for length in lengths]
        prompts.append((lengths, rewards))
    slope = length_slope(prompts)
    # The standard error is 1 / sqrt(2100 x 66000), about 0.0001.
    assert slope == pytest.approx(0.02, abs=0.0005)
    assert length_slope(without(prompts, slope)) == pytest.approx(0, abs=1e-9)


@given(PROMPTS, st.floats(-1, 1))
def test_what_is_injected_is_added(prompts: list[list[tuple[int, float]]], slope: float) -> None:
    before = length_slope(columns(prompts))
    more = [[(length, reward + slope * length) for length, reward in own] for own in prompts]
    assert length_slope(columns(more)) == pytest.approx(before + slope, abs=1e-6)


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ([], "no prompt has answers of different lengths"),
        ([([], []), ([5], [1.0]), ([7, 7, 7], [1.0, 2.0, 4.0])], "of different lengths"),
        ([([5, 6], [1.0])], "2 lengths for 1 rewards"),
    ],
)
def test_what_cannot_be_fitted(prompts: Columns, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        length_slope(prompts)
