"""A conversation as a judge sees it."""

from __future__ import annotations

from typing import Any

import pytest

from bon_common.judging.conversation import conversation_text, turn_text


def test_a_call_of_a_tool_has_no_text() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{}]},
    ]
    assert conversation_text(messages) == "user: hi\n\nassistant: "


@pytest.mark.parametrize("function", ["my name", ["name"], 5, True, None, "", {}, []])
def test_what_stands_in_place_of_a_function_is_survived(function: Any) -> None:
    assert turn_text({"content": "hi", "tool_calls": [{"function": function}]}) == "hi"
