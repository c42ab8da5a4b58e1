"""Mean similarities: closed values, and what must not matter."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.similarity import cosine_consensus, ngram_consensus

TEXTS = st.lists(st.text("ab \u00e9", max_size=12), max_size=6)
VECTORS = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(st.floats(-1e3, 1e3), min_size=size, max_size=size), max_size=6)
)


def test_ngrams_closed_values() -> None:
    # ab, bc, cd and bc, cd, de share 2 of 3 each.
    assert ngram_consensus(["abcd", "bcde"], 2) == pytest.approx([2 / 3, 2 / 3], abs=1e-9)
    # aa occurs three times and once: 2 x 1 / (3 + 1).
    assert ngram_consensus(["aaaa", "aa"], 2) == pytest.approx([1 / 2, 1 / 2], abs=1e-9)
    # abc has abc; abcd has abc, bcd; xyz shares nothing: pairs 2/3, 0, 0.
    found = ngram_consensus(["abc", "abcd", "xyz"], 3)
    assert found == pytest.approx([1 / 3, 1 / 3, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("7", "7", 1.0),
        ("7", "8", 0.0),
        ("12", "123", 0.0),
        ("", "", 1.0),
        ("", "abc", 0.0),
        ("New  York\n", "new york", 1.0),
    ],
)
def test_short_texts_and_what_does_not_count(one: str, other: str, expected: float) -> None:
    assert ngram_consensus([one, other], 3) == [expected, expected]


def test_one_text_has_no_others() -> None:
    assert ngram_consensus(["alone"], 3) == [0.0]
    assert ngram_consensus([], 3) == []
    assert cosine_consensus([[1.0, 2.0]]) == pytest.approx([0.0], abs=1e-9)
    assert cosine_consensus([]) == []


@given(TEXTS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_matter(texts: list[str], size: int, random: Any) -> None:
    order = random.sample(range(len(texts)), len(texts))
    found = ngram_consensus(texts, size)
    assert ngram_consensus([texts[i] for i in order], size) == [found[i] for i in order]
    assert all(0 <= value <= 1 for value in found)


@given(st.text(min_size=1, max_size=40), st.integers(2, 5), st.integers(1, 4))
def test_equal_texts_are_as_alike_as_can_be(text: str, count: int, size: int) -> None:
    assert ngram_consensus([text] * count, size) == [1.0] * count


def test_an_ngram_has_a_character() -> None:
    with pytest.raises(ValueError, match="at least 1 character, got 0"):
        ngram_consensus(["a"], 0)


def test_cosine_closed_values() -> None:
    found = cosine_consensus([[1.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
    half = math.sqrt(0.5)
    # Pairs: cos 45 degrees, 0, and -cos 45 degrees.
    assert found == pytest.approx([half / 2, 0.0, -half / 2], abs=1e-9)
    assert cosine_consensus([[0.0, 0.0], [1.0, 2.0]]) == [0.0, 0.0]
    huge = [[1.7e308, 1.7e308], [5e-324, 5e-324]]
    assert cosine_consensus(huge) == pytest.approx([1.0, 1.0], abs=1e-9)


@given(VECTORS, st.floats(1e-3, 1e3))
def test_cosines_are_the_mean_over_pairs_and_length_does_not_count(
    vectors: list[list[float]], factor: float
) -> None:
    def cosine(one: list[float], other: list[float]) -> float:
        both = math.hypot(*one) * math.hypot(*other)
        return math.fsum(x * y for x, y in zip(one, other, strict=True)) / both if both else 0.0

    vectors = [[value if abs(value) > 1e-9 else 0.0 for value in vector] for vector in vectors]
    others = max(1, len(vectors) - 1)
    pairs = [
        math.fsum(cosine(v, w) for j, w in enumerate(vectors) if j != i) / others
        for i, v in enumerate(vectors)
    ]
    assert cosine_consensus(vectors) == pytest.approx(pairs, abs=1e-9)
    scaled = [[factor * value for value in vector] for vector in vectors]
    assert cosine_consensus(scaled) == pytest.approx(pairs, abs=1e-9)


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [([[1.0], [1.0, 2.0]], "differ in length"), ([[math.nan], [1.0]], "not finite")],
)
def test_vectors_that_cannot_be_compared(vectors: list[list[float]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cosine_consensus(vectors)
