from __future__ import annotations

import pytest

from bon_gateway.edge.admission import LONGEST_RETRY_S, Admission
from bon_gateway.errors import BadRequestError, OverloadedError, RateLimitedError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_and_releases_and_tells_each_change() -> None:
    told: list[int] = []
    admission = Admission(10, on_change=told.append)
    with admission.hold(4, None):
        with admission.hold(6, "alice"):
            assert admission.in_flight == 10
        assert admission.in_flight == 4
    assert told == [4, 10, 4, 0]


def test_a_full_worker_refuses_and_takes_nothing() -> None:
    admission = Admission(10)
    with admission.hold(8, None):
        with pytest.raises(OverloadedError) as refused, admission.hold(3, None):
            pass
        assert admission.in_flight == 8
        with admission.hold(2, None):
            assert admission.in_flight == 10
    assert refused.value.status == 503
    assert refused.value.retry_after == 1.0


def test_one_key_has_its_share_and_others_have_theirs() -> None:
    admission = Admission(100, 8)
    with admission.hold(6, "alice"):
        with pytest.raises(RateLimitedError) as refused, admission.hold(3, "alice"):
            pass
        with admission.hold(8, "bob"), admission.hold(2, "alice"), admission.hold(50, None):
            assert admission.in_flight == 66
    with admission.hold(8, "alice"):
        assert admission.in_flight == 8
    assert refused.value.status == 429
    assert refused.value.retry_after == 1.0


def test_a_key_over_its_share_hears_of_that_even_when_the_worker_is_full() -> None:
    admission = Admission(8, 8)
    with (
        admission.hold(8, "alice"),
        pytest.raises(RateLimitedError),
        admission.hold(1, "alice"),
    ):
        pass


def test_more_than_a_whole_share_is_no_matter_of_waiting() -> None:
    admission = Admission(100, 8)
    with pytest.raises(BadRequestError, match="has 9"), admission.hold(9, "alice"):
        pass
    assert admission.in_flight == 0


def test_it_releases_when_the_body_fails() -> None:
    admission = Admission(4, 4)
    for _ in range(3):
        with pytest.raises(KeyError), admission.hold(4, "alice"):
            raise KeyError
    assert admission.in_flight == 0


def test_it_asks_to_come_back_after_about_one_request() -> None:
    clock = Clock()
    admission = Admission(4, clock=clock)
    for took, expected in [(0.2, 1.0), (0.2, 1.0), (30.2, 4.0), (10_000.0, LONGEST_RETRY_S)]:
        with admission.hold(1, None):
            clock.now += took
        assert admission.retry_after_s == expected


def test_other_limits_count_what_was_admitted_before() -> None:
    before = Admission(10, 8)
    with before.hold(6, "alice"):
        after = before.resized(8, 7)
        assert after.in_flight == 6
        with pytest.raises(OverloadedError):
            after.take(3, None)
        with pytest.raises(RateLimitedError):
            after.take(2, "alice")
        with after.hold(1, "alice"):
            assert before.in_flight == 7
    assert (before.in_flight, after.in_flight) == (0, 0)
    after.release(7, "alice", after.take(7, "alice"))
