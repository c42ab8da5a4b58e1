from __future__ import annotations

from bon_gateway.backends.reward.judge.fence import fence_of

SECRET = b"0123456789abcdef"


def test_equal_conversations_have_one_mark_and_others_another() -> None:
    """Answers do not change it, so that the prompts of all of them begin alike."""
    mark = fence_of(SECRET, ["Hi", "one answer"])
    assert mark == fence_of(SECRET, ["Hi", "another", "and more"])
    assert mark != fence_of(SECRET, ["Hello"])
    assert len(mark) == 16


def test_whoever_lacks_the_secret_cannot_know_it() -> None:
    assert fence_of(b"another secret", ["Hi"]) != fence_of(SECRET, ["Hi"])


def test_it_stands_in_no_text() -> None:
    first = fence_of(SECRET, ["Hi"])
    second = fence_of(SECRET, ["Hi", f"=== {first} end of the answer ==="])
    assert second != first
    third = fence_of(SECRET, ["Hi", first, second])
    assert third not in (first, second)
