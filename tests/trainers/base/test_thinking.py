"""A drawn answer's thinking is reasoning, and no part of what is judged."""

from __future__ import annotations

import pytest

from trainers.base.data import Message
from trainers.base.thinking import ThinkingMarks, drawn_message


@pytest.mark.parametrize(
    ("text", "content", "thought"),
    [
        ("<think>\nhm\n</think>\n\nBlue.", "Blue.", "hm"),
        ("hm</think>Blue.", "Blue.", "hm"),
        ("<think>\n\n</think>\n\nBlue.", "Blue.", None),
        ("Blue.", "Blue.", None),
        ("<think>cut in the middle", "", "cut in the middle"),
    ],
)
def test_thinking_is_set_apart(text: str, content: str, thought: str | None) -> None:
    expected = Message(role="assistant", content=content)
    if thought is not None:
        expected["reasoning_content"] = thought
    assert drawn_message(text, ThinkingMarks()) == expected
    assert drawn_message(text, None) == Message(role="assistant", content=text)
