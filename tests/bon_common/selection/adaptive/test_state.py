from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.prior import NormalInverseGamma
from bon_common.selection.adaptive.state import LEAST_GAIN, LEAST_LEAD, features, unit
from bon_common.selection.adaptive.student import density

PRIOR = NormalInverseGamma(mean=1.0, strength=2.0, shape=1.0, scale=4.0)


def test_by_hand() -> None:
    """Of 1, 1 and 1 the Gaussian learns from one 1. After it the next reward is Student's t with 3
    degrees of freedom around 1, of scale sqrt(4 * 4 / (1.5 * 3)), and its best is its mean."""
    scale = math.sqrt(32 / 9)
    gain = scale * 3 / 2 * density(0.0, 3)
    assert unit(PRIOR) == 2.0
    assert features(PRIOR, [1.0, 1.0, 1.0]) == pytest.approx(
        (
            math.log(gain / 2 + LEAST_GAIN),
            math.log(LEAST_LEAD),
            1.0,
            0.0,
            math.log(scale / 2),
            0.0,
            math.log(3),
        ),
        abs=1e-12,
    )


def test_what_was_seen_often_and_what_once() -> None:
    found = features(PRIOR, [5.0, 2.0, 3.0, 5.0])
    assert found[1] == pytest.approx(math.log(2.0 / 2 + LEAST_LEAD))
    assert found[2:4] == (0.5, 0.5)
    assert found[5] == 2.0


@given(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_does_not_matter(rewards: list[float], source: random.Random) -> None:
    mixed = rewards[:]
    source.shuffle(mixed)
    assert features(PRIOR, mixed) == features(PRIOR, rewards)


@given(
    st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=12),
    st.integers(-9, 9),
    st.sampled_from([0.25, 0.5, 4.0]),
)
def test_they_have_no_unit(rewards: list[float], shift: int, factor: float) -> None:
    other = NormalInverseGamma(factor * (PRIOR.mean + shift), 2.0, 1.0, factor**2 * PRIOR.scale)
    moved = [factor * (reward + shift) for reward in rewards]
    assert features(other, moved) == pytest.approx(features(PRIOR, rewards), abs=1e-9)


@pytest.mark.parametrize("rewards", [[], [math.nan], [1.0, math.inf]])
def test_no_rewards_are_an_error(rewards: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one reward"):
        features(PRIOR, rewards)
