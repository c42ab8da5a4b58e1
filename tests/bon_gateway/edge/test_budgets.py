from __future__ import annotations

import pytest

from bon_gateway.edge.admission import Admission
from bon_gateway.edge.budgets import KeyBudget, KeyBudgets
from bon_gateway.errors import BadRequestError, OverloadedError, RateLimitedError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_requests_of_a_window() -> None:
    clock = Clock()
    admission = Admission(99, budget=KeyBudget(requests=2, window_s=60), clock=clock)
    for _ in range(2):
        with admission.hold(4, "alice"):
            pass
    clock.now += 20.5
    with pytest.raises(RateLimitedError, match="2 requests in this window of 60 s") as refused:
        admission.take(4, "alice")
    assert refused.value.retry_after == 40
    assert admission.in_flight == 0
    with admission.hold(4, "bob"), admission.hold(4, None):
        pass
    clock.now = 160.0
    with admission.hold(4, "alice"):
        pass


def test_what_was_refused_is_not_counted() -> None:
    admission = Admission(4, budget=KeyBudget(requests=1))
    with admission.hold(4, None), pytest.raises(OverloadedError):
        admission.take(4, "alice")
    with admission.hold(4, "alice"):
        pass


def test_tokens_of_a_window_when_requests_have_ended() -> None:
    clock = Clock()
    budgets = KeyBudgets(KeyBudget(tokens=100, window_s=10), clock)
    for tokens in (60, 60):
        budgets.check("alice", 0)
        budgets.begin("alice", 0)
        budgets.end("alice", 0)
        budgets.spend("alice", tokens)
    with pytest.raises(RateLimitedError, match="120 generated tokens") as refused:
        budgets.check("alice", 0)
    assert refused.value.retry_after == 10
    clock.now += 10
    budgets.check("alice", 0)


def test_with_known_lengths_the_budget_is_never_passed() -> None:
    budgets = KeyBudgets(KeyBudget(tokens=100))
    budgets.check("alice", 60)
    budgets.begin("alice", 60)
    with pytest.raises(RateLimitedError, match="running requests may generate 60"):
        budgets.check("alice", 41)
    budgets.check("alice", 40)
    budgets.end("alice", 60)
    budgets.spend("alice", 10)
    budgets.check("alice", 90)
    with pytest.raises(RateLimitedError):
        budgets.check("alice", 91)


def test_what_runs_is_held_beyond_the_window() -> None:
    clock = Clock()
    budgets = KeyBudgets(KeyBudget(tokens=100, window_s=10), clock)
    budgets.begin("alice", 60)
    clock.now += 11
    with pytest.raises(RateLimitedError):
        budgets.check("alice", 41)
    budgets.end("alice", 60)
    budgets.check("alice", 100)


def test_more_than_a_window_has_is_no_matter_of_waiting() -> None:
    budgets = KeyBudgets(KeyBudget(tokens=100, window_s=10))
    with pytest.raises(BadRequestError, match=r"may generate 101 tokens, and .* 100 in 10 s") as e:
        budgets.check("alice", 101)
    assert e.value.param == "max_tokens"


def test_another_budget_counts_what_was_spent_before() -> None:
    before = Admission(99, budget=KeyBudget(requests=5))
    with before.hold(1, "alice", 7):
        after = before.resized(99, None, KeyBudget(requests=1, tokens=10))
        with pytest.raises(RateLimitedError):
            after.take(1, "alice")
        after = before.resized(99, None, KeyBudget(requests=2, tokens=10))
        with pytest.raises(RateLimitedError, match="may generate 7"):
            after.take(1, "alice", 4)
    with after.hold(1, "alice", 10):
        pass
    assert before.resized(99, None).take(1, "alice") > 0, "no budget is no limit"


def test_headers_say_what_is_left() -> None:
    clock = Clock()
    budgets = KeyBudgets(KeyBudget(requests=3, tokens=100, window_s=30), clock)
    budgets.begin("alice", 60)
    budgets.spend("alice", 70)
    clock.now += 4.5
    assert budgets.headers("alice") == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "26s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "26s",
    }
    assert KeyBudgets(KeyBudget()).headers("alice") == {}
