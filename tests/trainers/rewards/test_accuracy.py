from __future__ import annotations

import pytest

from trainers.rewards.accuracy import (
    GapShare,
    ScoredPair,
    Share,
    accuracy,
    by_gap,
    by_section,
)

PAIRS = [
    ScoredPair(chosen=2.0, rejected=1.0, margin=0.5),
    ScoredPair(chosen=1.0, rejected=1.0, margin=1.0),
    ScoredPair(chosen=0.0, rejected=1.0, margin=2.0),
    ScoredPair(chosen=0.5, rejected=-1.0, margin=3.0),
]


@pytest.mark.parametrize(("min_margin", "share"), [(0.0, 2.5 / 4), (1.0, 1.5 / 3), (3.0, 1.0)])
def test_ties_are_half_right(min_margin: float, share: float) -> None:
    assert accuracy(PAIRS, min_margin) == share


def test_no_pair_left() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        accuracy(PAIRS, 4)


def test_each_gap_and_section_has_its_own_share() -> None:
    pairs = [
        *PAIRS,
        ScoredPair(5.0, 1.0),
        ScoredPair(1.0, 2.0, 1.5, "hard"),
        ScoredPair(2.0, 1.0, 9.0, "hard"),
    ]
    assert by_gap(pairs, (0.0, 1.0, 3.0)) == [
        GapShare(0.0, 1.0, 1.0, 1),
        GapShare(1.0, 3.0, 0.5 / 3, 3),
        GapShare(3.0, None, 1.0, 2),
    ]
    assert by_section(pairs) == {"hard": Share(0.5, 2)}
    assert accuracy(pairs) == pytest.approx(4.5 / 7)
