"""Calls in what a policy drew are read as vLLM's `hermes` parser reads them."""

from __future__ import annotations

import json

import pytest

from trainers.base.thinking import ThinkingMarks, drawn_message
from trainers.base.tool_calls import split_calls

TOOLS = [{"type": "function", "function": {"name": "look"}}]
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "the sky"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "content", "names"),
    [
        ("Blue.", "Blue.", []),
        (CALL, "", ["look"]),
        (f"Let me look.\n{CALL}\n{CALL}", "Let me look.\n", ["look", "look"]),
        (CALL.removesuffix("\n</tool_call>"), "", ["look"]),
        (f"{CALL}\nand more", "", ["look"]),
        ("<tool_call>{broken</tool_call>", "<tool_call>{broken</tool_call>", []),
        ('<tool_call>{"name": "look"}</tool_call>', '<tool_call>{"name": "look"}</tool_call>', []),
        ("<tool_call>[1]</tool_call>", "<tool_call>[1]</tool_call>", []),
    ],
)
def test_calls_are_split_off(text: str, content: str, names: list[str]) -> None:
    found, calls = split_calls(text)
    assert found == content
    assert [call["function"]["name"] for call in calls] == names
    for call in calls:
        assert json.loads(call["function"]["arguments"]) == {"at": "the sky"}
        assert len(call["id"]) == 9


def test_they_are_calls_only_where_there_are_tools() -> None:
    text = f"<think>\nWhere?\n</think>\n\nSo:\n{CALL}"
    assert "tool_calls" not in drawn_message(text, ThinkingMarks())
    message = drawn_message(text, ThinkingMarks(), TOOLS)
    assert message["content"] == "So:\n"
    assert message["reasoning_content"] == "Where?"
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["look"]
    assert drawn_message(text, None, TOOLS)["content"].startswith("<think>")
