from __future__ import annotations

from typing import Any

import pytest

from bon_common.messages import (
    MAX_VALUES,
    MessageError,
    decoded_call,
    plain_message,
    policy_message,
    split_reasoning,
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("a", "a"),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        (["a", {"text": "b"}], "a\nb"),
        ([{"type": "refusal", "refusal": "no"}, {"type": "thinking", "thinking": "hm"}], "no\nhm"),
        ([{"type": "text"}, {"type": "text", "text": None}], "\n"),
    ],
)
def test_what_is_text_counts(content: Any, text: str) -> None:
    assert plain_message({"role": "user", "content": content})["content"] == text


@pytest.mark.parametrize(
    "content",
    [
        3,
        {"text": "a"},
        [3],
        [{"type": "image_url", "text": "a"}],
        [{"type": "text", "text": 3}],
        [{"type": ["text"], "text": "a"}],
        [{"refusal": "no"}],
    ],
)
def test_what_is_no_text_is_refused(content: Any) -> None:
    with pytest.raises(MessageError) as caught:
        plain_message({"role": "user", "content": content})
    assert caught.value.place == "content"


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"content": "a"}, "role"),
        ({"role": "user", "tool_calls": "a"}, "tool_calls"),
        ({"role": "user", "tool_calls": ["a"]}, "tool_calls"),
    ],
)
def test_a_broken_message_is_named_by_its_place(message: Any, place: str) -> None:
    with pytest.raises(MessageError) as caught:
        plain_message(message)
    assert caught.value.place == place


def test_arguments_are_decoded_where_they_are_json() -> None:
    def decoded(arguments: Any) -> Any:
        return decoded_call({"function": {"arguments": arguments}})["function"]["arguments"]

    assert decoded('{"a": [1]}') == {"a": [1]}
    assert decoded("{oh") == "{oh"
    assert decoded({"a": 1}) == {"a": 1}
    assert decoded("") == decoded(None) == {}
    assert decoded_call({"id": "1"}) == {"id": "1"}
    for hostile in ("[" * 100_000, "[" + "1," * MAX_VALUES + "1]"):
        with pytest.raises(MessageError) as caught:
            decoded(hostile)
        assert caught.value.place == "tool_calls.function.arguments"


@pytest.mark.parametrize("given", [{"reasoning": "hm"}, {"reasoning_content": "hm"}])
def test_a_policys_template_finds_reasoning_under_both_names(given: dict[str, str]) -> None:
    both = {"reasoning": "hm", "reasoning_content": "hm"}
    message = {"role": "assistant", "content": "a"}
    assert policy_message(message | given) == message | both
    # Only an assistant's counts, as in vLLM.
    assert policy_message({"role": "user", "content": "a"} | given) == {
        "role": "user",
        "content": "a",
    }


def test_reasoning_is_split_off() -> None:
    thought = {"type": "thinking", "thinking": "so"}
    message = {"role": "assistant", "content": [thought, "a"], "reasoning": "hm"}
    assert split_reasoning(message) == ({"role": "assistant", "content": ["a"]}, "hm\nso")
    asked = {"role": "user", "content": [thought]}
    assert split_reasoning(asked) == (asked, "")
