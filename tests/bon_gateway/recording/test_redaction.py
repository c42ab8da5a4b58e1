from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bon_gateway.recording.redaction import Redaction, RedactionTimeoutError
from bon_gateway.sections.recording import RecordingSettings

MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "name": "ann",
    "content": [
        {"type": "text", "text": "write to ann@example.org or bob@example.org"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ],
    "tool_calls": [
        {"id": "a", "function": {"name": "send", "arguments": '{"to": "ann@example.org"}'}},
        {"id": "b", "function": {"name": "call", "arguments": "{}"}},
    ],
}
MAIL = r"[\w.]+@[\w.]+"


def test_patterns_are_replaced_in_every_text_at_any_depth() -> None:
    clean = Redaction((MAIL, "send"), ()).apply(MESSAGE)
    assert clean["content"][0]["text"] == "write to [redacted] or [redacted]"
    function = clean["tool_calls"][0]["function"]
    assert function == {"name": "[redacted]", "arguments": '{"to": "[redacted]"}'}
    assert clean["tool_calls"][1] == MESSAGE["tool_calls"][1]
    assert clean["role"] == "assistant"


def test_fields_are_left_out_through_lists() -> None:
    fields = ("name", "content.image_url", "tool_calls.function.arguments")
    clean = Redaction((), fields).apply(MESSAGE)
    assert set(clean) == {"role", "content", "tool_calls"}
    assert clean["content"][1] == {"type": "image_url"}
    assert [call["function"] for call in clean["tool_calls"]] == [
        {"name": "send"},
        {"name": "call"},
    ]


def test_a_field_is_a_whole_path() -> None:
    clean = Redaction((), ("function", "content.url", "tool_calls.name")).apply(MESSAGE)
    assert clean == MESSAGE


def test_what_is_given_stays_as_it_is() -> None:
    before = copy.deepcopy(MESSAGE)
    Redaction((MAIL,), ("name", "content.image_url")).apply(MESSAGE)
    assert before == MESSAGE


def test_numbers_are_what_is_written_of_them() -> None:
    value = {"card": 4111111111111111, "cards": [4111111111111111.0], "n": 1, "p": 0.5}
    clean = Redaction((r"\d{16}(\.0)?",), ()).apply(value)
    assert clean == {"card": "[redacted]", "cards": ["[redacted]"], "n": 1, "p": 0.5}


def test_true_false_and_null_stay() -> None:
    value = {"flag": True, "other": False, "none": None}
    assert Redaction((".",), ()).apply({"k": value})["[redacted]"] is not None
    assert list(Redaction(("[0-9nte]",), ()).apply(value).values()) == [True, False, None]


def test_keys_are_written_too() -> None:
    schema = {"properties": {"ann@example.org": {"type": "string"}}}
    clean = Redaction((MAIL,), ()).apply(schema)
    assert clean == {"properties": {"[redacted]": {"type": "string"}}}


def escaped(text: str, how: list[int]) -> str:
    """``text`` inside a JSON string, with each character escaped in one of the ways there are."""
    plain = {"\n": "\\n", '"': '\\"', "\\": "\\\\"}
    out = []
    for character, way in zip(text, how, strict=True):
        unit = character.encode("utf-16-be").hex()
        units = "".join(f"\\u{unit[i : i + 4]}" for i in range(0, len(unit), 4))
        out.append((plain.get(character, character), units, units.upper().replace("U", "u"))[way])
    return "".join(out)


@given(
    secret=st.sampled_from(["ann@example.org", "bj\u00f6rn@ex\U0001f9f8.se"]),
    around=st.text(st.characters(codec="utf-8"), max_size=8),
    levels=st.integers(1, 3),
    data=st.data(),
)
def test_escapes_hide_nothing(secret: str, around: str, levels: int, data: st.DataObject) -> None:
    """Whole JSON or cut off anywhere behind the secret, as truncated arguments are."""
    text = secret
    for _ in range(levels):
        how = data.draw(st.lists(st.integers(0, 2), min_size=len(text), max_size=len(text)))
        text = f'{{"to": "{escaped(text, how)}'
    message = {"tool_calls": [{"function": {"arguments": f"{around} {text}"}}]}
    (call,) = Redaction((re.escape(secret),), ()).apply(message)["tool_calls"]
    assert call["function"]["arguments"].endswith("[redacted]")
    reread = call["function"]["arguments"]
    for _ in range(levels):
        reread = reread.replace("\\\\", "\\")
    assert secret not in reread


def test_what_is_beside_a_match_stays_as_it_was() -> None:
    text = r'{"a": "x\n\u0061nn@example.org\t\u00e9", "b": "\d"}'
    assert Redaction((MAIL,), ()).scalar(text) == r'{"a": "x\n[redacted]\t\u00e9", "b": "\d"}'


def test_patterns_that_overlap_leave_nothing_of_either() -> None:
    assert Redaction(("abc", "bcd"), ()).scalar("xabcdx") == "x[redacted]x"


def test_the_time_of_a_text_is_bounded() -> None:
    evil = Redaction(("(a+)+$",), ())
    assert evil.scalar("a" * 100_000 + "!") == "a" * 100_000 + "!"
    with pytest.raises(RedactionTimeoutError):
        Redaction(("a[^b]*b|a",), (), limit_s=0.2).scalar("a" * 3_000_000)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("redact", "(", "not a regular expression"),
        ("redact", "(?=a)b", r"not a regular expression: .*\(\?="),
        ("redact", r"(a)\1", "not a regular expression"),
        ("redact", "x*", "matches the empty text"),
        ("redact_fields", "content..url", "not a dotted field"),
        ("redact_fields", "", "not a dotted field"),
    ],
)
def test_bad_rules_name_the_key(key: str, value: str, word: str) -> None:
    with pytest.raises(ValidationError, match=word) as caught:
        RecordingSettings.model_validate({key: [value]})
    assert caught.value.errors()[0]["loc"] == (key,)
