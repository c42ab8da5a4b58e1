"""What follows the thinking in a message's content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bon_gateway.thinking import ThinkingSettings, after_thinking

TAGS = ThinkingSettings()


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("an answer", "an answer"),
        ("<think>so</think>\n\nan answer ", "an answer "),
        ("so</think>an answer", "an answer"),
        ("<think>so", None),
        ("\n<think>so", None),
        ("it says <think> here", "it says <think> here"),
        ("<think></think>", ""),
        ("", ""),
    ],
)
def test_the_answer_is_what_follows(content: str, answer: str | None) -> None:
    assert after_thinking(content, TAGS) == answer


def test_other_words_mark_it_elsewhere() -> None:
    marks = ThinkingSettings(start="[THINK]", end="[/THINK]")
    assert after_thinking("[THINK]so[/THINK]yes", marks) == "yes"
    assert after_thinking("<think>so</think>yes", marks) == "<think>so</think>yes"


@given(some.text())
def test_without_marks_all_is_answer(content: str) -> None:
    assert after_thinking(content, None) == content
