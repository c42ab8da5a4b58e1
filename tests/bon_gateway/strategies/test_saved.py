from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_gateway.strategies.saved import saved_tokens
from bon_gateway.testing.fakes import completion
from bon_gateway.types import Candidate, CandidateStatus

FINISHED, REJECTED = CandidateStatus.FINISHED, CandidateStatus.REJECTED
FAILED = CandidateStatus.FAILED


def candidates(*told: tuple[CandidateStatus, int]) -> list[Candidate]:
    return [
        Candidate(
            index,
            status,
            None if status in (REJECTED, FAILED) else completion("a"),
            tokens=tokens,
        )
        for index, (status, tokens) in enumerate(told)
    ]


@pytest.mark.parametrize(
    ("told", "n", "saved"),
    [
        ([(FINISHED, 10), (FINISHED, 20)], 2, 0),
        ([(FINISHED, 10), (FINISHED, 20)], 8, 8 * 15 - 30),
        ([(FINISHED, 10)] * 12, 8, -40),
        ([(FINISHED, 10), (FINISHED, 20), (REJECTED, 4)], 3, 11),
        ([(FINISHED, 10), (FINISHED, 20), (REJECTED, 4)], 2, -4),
        ([(CandidateStatus.INVALID, 10), (CandidateStatus.TRUNCATED, 30)], 3, 20),
        ([(FINISHED, 10), (FAILED, 3)], 2, 0),
        ([(REJECTED, 4), (FAILED, 0)], 2, None),
        ([], 2, None),
    ],
)
def test_by_hand(told: list[tuple[CandidateStatus, int]], n: int, saved: int | None) -> None:
    assert saved_tokens(candidates(*told), n) == saved


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_plain_best_of_n_saves_nothing(tokens: list[int]) -> None:
    assert saved_tokens(candidates(*[(FINISHED, one) for one in tokens]), len(tokens)) == 0
