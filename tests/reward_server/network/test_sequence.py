from __future__ import annotations

import pytest

from reward_server.network.sequence import Ids, shared_tokens


@pytest.mark.parametrize(
    ("left", "right", "count"),
    [((1, 2, 3), (1, 2), 2), ((1, 2, 3), (1, 5), 1), ((1, 2), (1, 2, 3), 2), ((1,), (), 0)],
)
def test_shared_tokens_are_the_leading_ones(left: Ids, right: Ids, count: int) -> None:
    assert shared_tokens(left, right) == count
