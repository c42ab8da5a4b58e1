"""What a judge sees of a conversation."""

from __future__ import annotations

from typing import Any

from bon_common.judging.conversation import conversation_text


def test_a_call_of_a_tool_has_no_text() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{}]},
    ]
    assert conversation_text(messages) == "user: hi\n\nassistant: "
