"""Confidence from log-probabilities: closed values, and what must hold for any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.confidence import lowest_group, mean, self_certainty, token_confidence

EXACT = 1e-9
logprobs = st.floats(-60, 0)
some = st.lists(logprobs, min_size=1, max_size=40)
several = st.lists(logprobs, min_size=2, max_size=20)


def uniform(k: int, mass: float = 1.0) -> list[float]:
    return [log(mass / k)] * k


def test_the_mean() -> None:
    assert mean([log(0.5), log(0.25)]) == pytest.approx(-1.5 * log(2), abs=EXACT)
    with pytest.raises(ValueError, match="no tokens"):
        mean([])


@given(some)
def test_a_mean_of_logprobs_is_at_most_0(values: list[float]) -> None:
    assert mean(values) <= 0


def test_self_certainty_is_the_divergence_from_uniform() -> None:
    # (1/2) ln((1/2) / (3/4)) + (1/2) ln((1/2) / (1/4)) = ln(2) - ln(3)/2
    assert self_certainty([log(0.75), log(0.25)]) == pytest.approx(log(2) - log(3) / 2, abs=EXACT)
    # With the whole vocabulary it is the paper's -(1/V) sum ln(V p).
    whole = [0.7, 0.2, 0.06, 0.04]
    paper = -sum(log(4 * p) for p in whole) / 4
    assert self_certainty([log(p) for p in whole]) == pytest.approx(paper, abs=EXACT)


@pytest.mark.parametrize("mass", [1.0, 0.5, 1e-300])
@pytest.mark.parametrize("k", [2, 5, 20])
def test_uniform_tokens_are_the_least_certain(k: int, mass: float) -> None:
    assert self_certainty(uniform(k, mass)) == pytest.approx(0, abs=EXACT)
    tilted = [*uniform(k, mass)[1:], uniform(k, mass)[0] - 0.01]
    assert self_certainty(tilted) > 1e-7


@given(several)
def test_self_certainty_is_never_below_0(top: list[float]) -> None:
    assert self_certainty(top) >= 0


@given(several, st.floats(-30, 0))
def test_only_how_the_top_tokens_share_counts(top: list[float], shift: float) -> None:
    shifted = self_certainty([value + shift for value in top])
    assert shifted == pytest.approx(self_certainty(top), abs=EXACT)


def test_a_token_that_the_engine_calls_impossible() -> None:
    """vLLM writes -9999 for minus infinity."""
    assert self_certainty([0.0, -9999.0]) == pytest.approx(9999 / 2 - log(2), abs=EXACT)
    assert self_certainty([-9999.0, -9999.0]) == pytest.approx(0, abs=EXACT)


@pytest.mark.parametrize("top", [[], [-0.1]])
def test_one_token_says_nothing_of_a_distribution(top: list[float]) -> None:
    with pytest.raises(ValueError, match="two log-probabilities or more"):
        self_certainty(top)


def test_the_confidence_of_a_token() -> None:
    top = [log(0.5), log(0.25), log(0.125)]
    assert token_confidence(top) == pytest.approx(2 * log(2), abs=EXACT)
    assert token_confidence(uniform(4)) == pytest.approx(log(4), abs=EXACT)
    with pytest.raises(ValueError, match="no tokens"):
        token_confidence([])


@given(several)
def test_a_token_s_confidence_is_least_where_all_are_alike(top: list[float]) -> None:
    total = math.fsum(math.exp(value) for value in top)
    if total > 0:
        even = [log(total / len(top))] * len(top)
        assert token_confidence(top) >= token_confidence(even) - EXACT


@given(several, st.randoms(use_true_random=False))
def test_the_order_of_the_top_tokens_does_not_matter(top: list[float], source: object) -> None:
    mixed = sorted(top, key=lambda _: source.random())  # type: ignore[attr-defined]
    assert self_certainty(mixed) == pytest.approx(self_certainty(top), abs=EXACT)
    assert token_confidence(mixed) == pytest.approx(token_confidence(top), abs=EXACT)


def test_the_lowest_group() -> None:
    assert lowest_group([3, 1, 2, 6, 0], 2) == pytest.approx(1.5, abs=EXACT)
    assert lowest_group([3, 1, 2, 6, 0], 1) == 0
    assert lowest_group([9, 0, 0, 9, 3, 3, 3], 3) == pytest.approx(3, abs=EXACT)


def slow(values: Sequence[float], window: int) -> float:
    groups = range(max(1, len(values) - window + 1))
    return min(mean(values[begin : begin + window]) for begin in groups)


@given(some, st.integers(1, 50))
def test_it_is_the_least_of_all_windows(values: list[float], window: int) -> None:
    found = lowest_group(values, window)
    assert found == pytest.approx(slow(values, window), abs=EXACT)
    assert found <= max(values) + EXACT


@given(some, st.integers(0, 9))
def test_a_window_as_long_as_the_answer_is_the_mean(values: list[float], more: int) -> None:
    assert lowest_group(values, len(values) + more) == mean(values)


def test_groups_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        lowest_group([1.0], 0)
    with pytest.raises(ValueError, match="no tokens"):
        lowest_group([], 3)
