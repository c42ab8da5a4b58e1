from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.classes import similar_classes
from bon_common.selection.similarity import unit_vector


def at(*degrees: float) -> list[list[float]]:
    return [[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees]


def test_each_joins_the_nearest_first_member() -> None:
    least = math.cos(math.radians(31))
    # 55 is within 30 degrees of 30, which is no first member, and of 80, which is.
    assert similar_classes(at(0, 30, 80, 55), least) == [0, 0, 2, 2]
    assert similar_classes(at(0, 40, 20), least) == [0, 1, 0]  # as near to both: the first


def test_a_chain_does_not_join_its_ends() -> None:
    classes = similar_classes(at(*range(0, 181, 20)), math.cos(math.radians(21)))
    assert classes[0] != classes[-1]
    assert len(set(classes)) > 3


def test_equal_vectors_are_equal_at_the_highest_threshold() -> None:
    vectors = [unit_vector([0.1, 0.7, 0.3]) for _ in range(3)]
    assert similar_classes(vectors, 1.0) == [0, 0, 0]
    assert similar_classes([], 0.5) == []


VECTORS = st.lists(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: max(map(abs, v)) > 0.01),
    max_size=12,
)


@given(VECTORS, st.floats(-0.9, 0.99))
def test_all_are_near_their_first_and_first_ones_apart(
    vectors: list[list[float]], threshold: float
) -> None:
    units = [unit_vector(vector) for vector in vectors]

    def cosine(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(units[one], units[other], strict=True))

    classes = similar_classes(units, threshold)
    for place, leader in enumerate(classes):
        assert classes[leader] == leader <= place
        assert place == leader or cosine(place, leader) >= threshold - 1e-6
    for one, other in pairwise(sorted(set(classes))):
        assert cosine(one, other) < threshold + 1e-6
    # A later vector changes no earlier class.
    assert similar_classes(units[:-1], threshold) == classes[:-1]


def test_zeros_are_like_nothing() -> None:
    assert similar_classes([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], 0.5) == [0, 1, 2]
    assert unit_vector([0.0, 0.0]) == pytest.approx([0.0, 0.0])
