"""What a request's schemas may have, and that counting it is cheap."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.errors import BadRequestError
from bon_gateway.schemas.bounds import check_schemas
from bon_gateway.sections.server import LimitsSettings

DEFAULT = LimitsSettings()
SMALL = LimitsSettings(
    max_tools=3, max_schema_bytes=2000, max_schema_values=40, max_schema_depth=10
)


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def nested(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels - 1):
        schema = {"a": schema}
    return schema


def places(schema: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("tools[1].function.parameters", {"tools": [tool({}), tool(schema)]}),
        (
            "response_format.json_schema.schema",
            {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        ),
        ("structured_outputs.json", {"structured_outputs": {"json": schema}}),
    ]


@pytest.mark.parametrize(
    ("fits", "too_much", "what"),
    [
        ({"title": "x" * 1900}, {"title": "x" * 2100}, "bytes"),
        ({"enum": [0] * 30}, {"enum": [0] * 50}, "values"),
        ({"properties": dict.fromkeys("abcdefgh", True)}, dict.fromkeys(map(str, range(60))), "va"),
        (nested(10), nested(11), "levels"),
        (nested(10), nested(300), "levels"),
    ],
)
def test_above_a_limit_the_parameter_is_named(fits: Any, too_much: Any, what: str) -> None:
    for (param, body), (_, large) in zip(places(fits), places(too_much), strict=True):
        check_schemas(body, SMALL)
        with pytest.raises(BadRequestError, match=what) as caught:
            check_schemas(large, SMALL)
        assert caught.value.param == param


def test_all_schemas_of_a_request_count_together() -> None:
    part = {"enum": [0] * 15}
    check_schemas({"tools": [tool(part), tool(part)]}, SMALL)
    with pytest.raises(BadRequestError) as caught:
        check_schemas({"tools": [tool(part)] * 3}, SMALL)
    assert caught.value.param == "tools[2].function.parameters"


def test_too_many_tools() -> None:
    check_schemas({"tools": [tool({})] * 3}, SMALL)
    with pytest.raises(BadRequestError) as caught:
        check_schemas({"tools": [7] * 4}, SMALL)
    assert caught.value.param == "tools"


def test_a_schema_as_text_is_bounded_like_any_other() -> None:
    check_schemas({"structured_outputs": {"json": '{"type": "object"}'}}, SMALL)
    for text in ("[" * 900, "{", '{"enum": [' + "0," * 50 + "0]}", '"' + "x" * 3000 + '"'):
        with pytest.raises(BadRequestError) as caught:
            check_schemas({"structured_outputs": {"json": text}}, SMALL)
        assert caught.value.param == "structured_outputs.json"


def test_real_lists_of_tools_pass() -> None:
    parameters = {
        "type": "object",
        "properties": {
            f"argument_{i}": {"type": "string", "description": "What it is for. " * 20}
            for i in range(10)
        },
        "required": ["argument_0"],
    }
    check_schemas({"tools": [tool(parameters)] * 500}, DEFAULT)


@pytest.mark.parametrize("odd", [None, 7, "x", [], [None], [[]], {}, {"function": 7}, True])
def test_what_is_no_schema_is_for_others_to_refuse(odd: Any) -> None:
    check_schemas(odd, SMALL)
    check_schemas({"tools": odd, "response_format": odd, "structured_outputs": odd}, SMALL)
    check_schemas({"tools": [odd], "response_format": {"json_schema": odd}}, SMALL)
    check_schemas(
        {"tools": [{"function": odd}], "response_format": {"json_schema": {"s": odd}}}, SMALL
    )
