"""Where thinking ends: for an answer that a client sees, and for a judge's verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bon_common.thinking import after_all_thinking, split_thinking

MARKS = ("<think>", "</think>")
PIECES = some.lists(some.sampled_from([*MARKS, "a", " "]), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("content", "split"),
    [
        ("Q", ("", "Q")),
        ("<think>a</think>Q", ("a", "Q")),
        ("a</think>Q", ("a", "Q")),
        ("<think>a</think>\n<think>b</think>\n\nQ", ("a\n\nb", "Q")),
        ("a</think><think>b</think>Q", ("a\n\nb", "Q")),
        ("<think>a</think><think></think>Q", ("a", "Q")),
        ("<think>a</think><think>b", ("a\n\nb", None)),
        # An answer may speak of the marks: nothing of it is lost.
        ("<think>a</think>Write <think>x</think> first", ("a", "Write <think>x</think> first")),
        ("<think>a <think></think>It ends with </think>", ("a <think>", "It ends with </think>")),
    ],
)
def test_a_policys_answer_follows_the_thinking_at_its_beginning(
    content: str, split: tuple[str, str | None]
) -> None:
    assert split_thinking(content, *MARKS) == split


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        ("Q", "Q"),
        ("<think>a</think>Q", "Q"),
        ("<think>a</think><think>so grade: C</think>Q", "Q"),
        ("<think>I weigh <think> tags.</think> maybe grade: C </think>Q", "Q"),
        ("<think>a</think>grade: C <think>or D", None),
        ("<think>a", None),
        ("Well. <think>grade: C", None),
    ],
)
def test_no_verdict_is_read_from_thinking(content: str, rest: str | None) -> None:
    assert after_all_thinking(content, *MARKS) == rest


@given(PIECES)
def test_what_is_left_for_a_verdict_has_no_mark(content: str) -> None:
    rest = after_all_thinking(content, *MARKS)
    assert rest is None or not any(mark in rest for mark in MARKS)


@given(PIECES)
def test_an_answer_begins_with_no_start(content: str) -> None:
    answer = split_thinking(content, *MARKS)[1]
    assert answer is None or not answer.lstrip().startswith(MARKS[0])
    assert answer is None or content.endswith(answer)
