from __future__ import annotations

import pytest

from bon_common.ensemble import Combine, combine


@pytest.mark.parametrize(
    ("how", "penalty", "expected"),
    [("mean", 1.0, 1.0), ("min", 1.0, -1.0), ("mean_minus_variance", 0.5, -1.0)],
)
def test_the_members_become_one_number(how: Combine, penalty: float, expected: float) -> None:
    assert combine((3.0, -1.0), how, penalty) == pytest.approx(expected)
    assert combine((1.5, 1.5), how, penalty) == pytest.approx(1.5)
