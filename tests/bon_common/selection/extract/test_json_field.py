from __future__ import annotations

import pytest

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.json_field import json_field


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"answer": "Paris"}', "answer", '"paris"'),
        ('{"answer": " PARIS\\n "}', "answer", '"paris"'),
        ('{"a": {"b": [{"c": 12.0}]}}', "a.b.0.c", "12"),
        ('{"answer": 12}', "answer", "12"),
        ('{"answer": 1e3}', "answer", "1000"),
        ('{"answer": -0.0}', "answer", "0"),
        ('{"answer": "12"}', "answer", '"12"'),
        ('{"answer": true}', "answer", "true"),
        ('{"answer": {"b": 1, "a": [2]}}', "answer", '{"a":[2],"b":1}'),
        ('```json\n{"answer": 3}\n```', "answer", "3"),
        ('\n```\n{"answer": 3}```  ', "answer", "3"),
        ('{"answer": null}', "answer", None),
        ('{"answer": ""}', "answer", None),
        ('{"answer": 1}', "other", None),
        ('{"answer": 1}', "answer.more", None),
        ("[1, 2]", "1", "2"),
        ("[1, 2]", "2", None),
        ("[1, 2]", "-1", None),
        ('"text"', "0", None),
        ("no JSON", "answer", None),
        ('{"answer": NaN}', "answer", None),
        ('{"answer": "\ud800"}', "answer", None),
        ("", "answer", None),
    ],
)
def test_the_value_at_a_path(text: str, field: str, value: str | None) -> None:
    assert json_field(text, field) == value


def test_what_is_nested_too_deeply_is_no_answer() -> None:
    for depth in (300, 2000):
        assert json_field('{"a": ' + "[" * depth + "]" * depth + "}", "a") is None
    assert json_field('{"a": ' + "[" * 20 + "]" * 20 + "}", "a") == "[" * 20 + "]" * 20


def test_what_is_too_long_is_no_answer() -> None:
    text = '{"a": 1}'
    assert json_field(text.ljust(MOST_SEARCHED), "a") == "1"
    assert json_field(text.ljust(MOST_SEARCHED + 1), "a") is None
