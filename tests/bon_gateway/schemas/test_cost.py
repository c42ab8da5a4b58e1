"""Which schemas may be checked on the event loop."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.schemas.cost import pattern_weight, weigh

ANSWER = '{"city": "Paris", "days": [1, 2, 3], "at": {"x": 1.5}}'
STRING = {"type": "string"}


def doubled(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)
    }
    definitions[f"d{levels}"] = STRING
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


def cheap(schema: Any, text: str = ANSWER) -> bool:
    cost = weigh(schema)
    return cost is not None and cost.cheap(text)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"type": "object", "properties": {"city": STRING}, "required": ["city"]},
        {"properties": {f"p{i}": STRING for i in range(100)}, "additionalProperties": False},
        {"$defs": {"a": STRING}, "items": {"$ref": "#/$defs/a"}},
        {"$defs": {"a~b/c": STRING}, "items": {"$ref": "#/$defs/a~0b~1c"}},
        {"anyOf": [{"properties": {"kind": {"const": i}}} for i in range(20)]},
        {"pattern": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        {"pattern": "^(a+)+$"},
        {"properties": {"pattern": STRING, "$ref": STRING}},
        doubled(5),
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_ordinary_schemas_are_cheap(schema: Any) -> None:
    assert cheap(schema)


@pytest.mark.parametrize(
    "schema",
    [
        doubled(17),
        doubled(40),
        {"$ref": "#"},
        {"properties": {"next": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(100)},
            "$ref": "#/$defs/d0",
        },
        {"$ref": "http://example.com/a"},
        {"$ref": "#/nowhere"},
        {"$ref": "#/%24defs/a", "$defs": {"a": True}},
        {"$ref": "#here", "$defs": {"a": {"$anchor": "here"}}},
        {"$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}},
        {"$defs": {"a": {"$id": "b", "$ref": "#/$defs/a"}}},
        {"unevaluatedProperties": False},
        {"enum": [[0] * 1000]},
        {"properties": {f"p{i}": {} for i in range(1000)}},
        {"items": {"pattern": "([ab]{1,100}){1,100}"}},
        {"pattern": "a{99999999999999999999}"},
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_what_a_client_could_drive_up_is_not(schema: Any) -> None:
    assert not cheap(schema)


def test_the_answer_counts_too() -> None:
    each = {"items": {"enum": list(range(100))}}
    assert cheap(each, "[1, 2, 3]")
    assert not cheap(each, "[" + "1," * 1000 + "1]")
    assert cheap({"pattern": "[ab]*a[ab]{100}x"}, '"ab"')
    assert not cheap({"pattern": "[ab]*a[ab]{100}x"}, '"' + "ab" * 50_000 + '"')
    assert not cheap(
        {"patternProperties": {"[ab]*a[ab]{100}x": True}}, '{"' + "ab" * 50_000 + '": 1}'
    )


def test_nested_repetitions_multiply() -> None:
    assert pattern_weight("a{10}") == 5 * 10
    assert pattern_weight("a{10}b{20}") == 10 * 20
    assert pattern_weight("(a{10}){20}") == 11 * 10 * 20
    assert pattern_weight(r"\p{L}") == 5 * 100
