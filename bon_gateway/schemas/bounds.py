"""Limits the schemas of one request, before anything else looks at them.

It looks at the raw body, in which every field may still have any type. Other modules refuse what
does not have the shape of a schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from bon_gateway.errors import BadRequestError
from bon_gateway.sections.server import LimitsSettings

_WITH_SCHEMAS = frozenset({"tools", "response_format", "structured_outputs"})


@dataclass(frozen=True, slots=True)
class _Sent:
    param: str
    schema: Any


def check_schemas(body: Any, limits: LimitsSettings) -> None:
    """Raises BadRequestError naming the parameter whose schema is above a limit."""
    if not isinstance(body, dict) or _WITH_SCHEMAS.isdisjoint(body):
        return
    tools = body.get("tools")
    if isinstance(tools, list) and len(tools) > limits.max_tools:
        raise BadRequestError.at("tools", f"{len(tools)} are above the limit of {limits.max_tools}")
    sent = [*_formats(body, limits), *_parameters(tools)]
    if not sent or _surely_small(sent, limits):
        return
    values_left, bytes_left = limits.max_schema_values, limits.max_schema_bytes
    for one in sent:
        values_left -= _values(one, values_left, limits)
        bytes_left -= len(orjson.dumps(one.schema))
        if bytes_left < 0:
            raise _above(one, "bytes of JSON", limits.max_schema_bytes)


def _formats(body: dict[str, Any], limits: LimitsSettings) -> Iterator[_Sent]:
    response_format = body.get("response_format")
    wanted = response_format.get("json_schema") if isinstance(response_format, dict) else None
    if isinstance(wanted, dict):
        yield _Sent("response_format.json_schema.schema", wanted.get("schema"))
    structured = body.get("structured_outputs")
    if isinstance(structured, dict):
        schema = structured.get("json")
        if isinstance(schema, str):
            schema = _parsed(schema, limits)
        yield _Sent("structured_outputs.json", schema)


def _parsed(text: str, limits: LimitsSettings) -> Any:
    param = "structured_outputs.json"
    if len(text) > limits.max_schema_bytes:
        raise _above(_Sent(param, None), "bytes of JSON", limits.max_schema_bytes)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadRequestError(f"{param} is not JSON", param=param) from None


def _parameters(tools: Any) -> Iterator[_Sent]:
    for position, tool in enumerate(tools if isinstance(tools, list) else ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict):
            parameters = function.get("parameters")
            yield _Sent(f"tools[{position}].function.parameters", parameters)


def _surely_small(sent: list[_Sent], limits: LimitsSettings) -> bool:
    """Whether all limits surely hold. It counts in the text, which is many times faster than
    looking at each value, and never counts too few."""
    try:
        data = orjson.dumps([one.schema for one in sent])
    except orjson.JSONEncodeError:
        return False
    opened = data.count(b"{") + data.count(b"[")
    return (
        len(data) <= limits.max_schema_bytes
        and opened + data.count(b",") <= limits.max_schema_values
        and opened <= limits.max_schema_depth
    )


def _values(one: _Sent, left: int, limits: LimitsSettings) -> int:
    """Number of values in the schema. It counts level by level, because a deeply nested schema
    would exceed the recursion limit."""
    count, depth, level = 1, 0, [one.schema]
    while level:
        below: list[Any] = []
        for value in level:
            kind = value.__class__
            if kind is not dict and kind is not list:
                continue
            count += len(value)
            if count > left:
                raise _above(one, "values", limits.max_schema_values)
            # For parsed JSON comparing the class is enough, and takes a third of isinstance's time.
            below += [
                part
                for part in (value.values() if kind is dict else value)
                if part.__class__ is dict or part.__class__ is list
            ]
        depth += 1
        if below and depth >= limits.max_schema_depth:
            raise _above(one, "levels", limits.max_schema_depth)
        level = below
    return count


def _above(one: _Sent, what: str, limit: int) -> BadRequestError:
    return BadRequestError.at(one.param, f"the schemas of a request may have {limit} {what}")
