"""The dialect that accepts a schema, and what none does."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.schemas.dialects import (
    LONGEST_REASON,
    NotASchemaError,
    UnreadablePatternError,
    compile_any,
    compile_small,
    gave_up,
)

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema"
NEWEST = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"$schema": DRAFT_7, "items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"$schema": NEWEST, "items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"$schema": "http://example.com/mine", "type": "string"}, "a", 1),
        ({"prefixItems": [{"type": "string"}]}, ["a", 1], [1]),
        ({"pattern": r"^(?<name>\p{L})\d$"}, "é1", "1é"),
        ({"enum": [None, 1]}, None, 2),
    ],
)
def test_it_judges_by_the_dialect_that_was_meant(schema: Any, good: Any, bad: Any) -> None:
    for validator in (compile_small(schema), compile_any(schema)[0]):
        assert validator is not None
        assert validator.is_valid(good)
        assert not validator.is_valid(bad)


@pytest.mark.parametrize("dialect", [{}, {"$schema": DRAFT_7}, {"$schema": NEWEST}])
def test_formats_are_not_checked(dialect: dict[str, str]) -> None:
    assert compile_any({**dialect, "format": "date"})[0].is_valid("no date")


@pytest.mark.parametrize(
    "schema", [{"type": "any"}, {"$ref": "#/nowhere"}, {"$ref": "http://127.0.0.1:1/x"}, 7, [1]]
)
def test_what_no_dialect_accepts_is_no_schema(schema: Any) -> None:
    assert compile_small(schema) is None
    with pytest.raises(NotASchemaError) as caught:
        compile_any(schema)
    assert str(caught.value)


def test_the_reason_is_short() -> None:
    with pytest.raises(NotASchemaError) as caught:
        compile_any({"type": ["x" * 100_000]})
    assert 0 < len(str(caught.value)) <= LONGEST_REASON


def test_patterns_that_look_around_need_the_engine_that_backtracks() -> None:
    schema = {"pattern": r"^(?=a)\w+$"}
    assert compile_small(schema) is None
    validator, backtracks = compile_any(schema)
    assert backtracks
    assert validator.is_valid("ab")
    assert not validator.is_valid("ba")
    assert not gave_up(validator, "ba")


@pytest.mark.parametrize("around", [lambda s: s, lambda s: {"anyOf": [s, {"type": "null"}]}])
def test_a_match_of_too_many_steps_is_told_from_one_that_failed(around: Any) -> None:
    validator, _ = compile_any(around({"pattern": r"^(?:(a+)\1?)+$b"}))
    assert gave_up(validator, "a" * 60 + "!")


def test_a_pattern_in_another_syntax_is_told_apart() -> None:
    with pytest.raises(UnreadablePatternError):
        compile_any({"pattern": "[a"})
