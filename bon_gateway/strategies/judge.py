"""What a gateway judges its candidates with: one for all strategies, so that schemas are known
across requests and one process at the most checks the costly ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from bon_gateway.errors import BadRequestError
from bon_gateway.protocols import PolicyBackend
from bon_gateway.schemas.checks import Schema, SchemaChecks
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.types import ChatRequest

_log = logging.getLogger(__name__)


class Judge:
    """``schema_limit_s`` is the CPU time that checking one answer may take; ``close`` ends what
    runs."""

    def __init__(self, schema_limit_s: float = 0.25) -> None:
        self._schemas = SchemaChecks(schema_limit_s)
        self._hinted: set[int] = set()

    async def check_for(self, request: ChatRequest, policy: PolicyBackend) -> AnswerCheck:
        """Raises BadRequestError for a ``response_format`` whose schema is none."""
        sampling = request.sampling
        kind, schema = await self._json_demand(sampling)
        choice = sampling.get("tool_choice")
        named = _named_tool(choice)
        return AnswerCheck(
            thinking=policy.thinking,
            prefill=Prefill.of(request),
            json_wanted=kind is not None,
            object_wanted=kind == "json_object",
            schema=schema,
            tools=_parameters(sampling.get("tools")),
            checks=self._schemas,
            tool_wanted=choice == "required" or named is not None,
            named_tool=named,
        )

    def answer_in_reasoning(self, policy: PolicyBackend, request_id: str) -> None:
        """Say so once for each policy: it is the engine's configuration, and holds for all."""
        if id(policy) in self._hinted:
            return
        self._hinted.add(id(policy))
        _log.warning(
            "an answer came as reasoning, without content: most likely the engine's reasoning"
            " parser does not fit the model, or the request switched thinking off and the parser"
            " expects it",
            extra={"fields": {"request_id": request_id}},
        )

    async def close(self) -> None:
        await self._schemas.close()

    async def _json_demand(self, sampling: Mapping[str, Any]) -> tuple[str | None, Schema | None]:
        """The kind of JSON that is asked for, and its schema: OpenAI's field, or vLLM's own."""
        response_format = sampling.get("response_format")
        if isinstance(response_format, dict):
            kind = response_format.get("type")
            if kind == "json_object":
                return kind, None
            if kind == "json_schema":
                wanted = response_format.get("json_schema")
                schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
                return kind, await self._admitted(schema, "response_format.json_schema.schema")
        structured = sampling.get("structured_outputs")
        if isinstance(structured, dict) and structured.get("json") is not None:
            param = "structured_outputs.json"
            return "json_schema", await self._admitted(_unwrapped(structured["json"], param), param)
        return None, None

    async def _admitted(self, raw: Any, param: str) -> Schema | None:
        if raw is None:
            return None
        schema = self._schemas.schema(raw)
        await schema.admit(param)
        return schema


def _unwrapped(schema: Any, param: str) -> Any:
    """vLLM takes a schema as JSON and as the text of it."""
    if not isinstance(schema, str):
        return schema
    try:
        return orjson.loads(schema)
    except orjson.JSONDecodeError:
        raise BadRequestError(f"{param} is not JSON", param=param) from None


def _named_tool(choice: Any) -> str | None:
    if choice is None:
        return None
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _parameters(tools: Any) -> dict[str, Any]:
    """Each tool's parameters by its name; None where it says nothing of them."""
    parameters = {}
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            parameters[function["name"]] = function.get("parameters")
    return parameters
