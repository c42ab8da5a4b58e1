"""Says which candidates may win. All strategies share one referee, so that it remembers schemas
across requests and at most one process checks the costly ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from bon_gateway.errors import BadRequestError
from bon_gateway.protocols import PolicyBackend
from bon_gateway.schemas.checker import Checker
from bon_gateway.schemas.checks import Schema, SchemaChecks
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.types import ChatRequest

_log = logging.getLogger(__name__)


class Referee:
    """``schema_limit_s`` is the CPU time that checking one answer may take, unless a ``checker`` is
    given. ``close`` ends the checking process."""

    def __init__(self, schema_limit_s: float = 0.25, checker: Checker | None = None) -> None:
        self._schemas = SchemaChecks(schema_limit_s, checker)
        self._hinted: set[int] = set()
        self.comparing = asyncio.Lock()
        """Held while a thread compares answers. Several threads would take no less time, because
        only one can run at once, and the event loop would have to wait for its turn among them."""

    async def check_for(self, request: ChatRequest, policy: PolicyBackend) -> AnswerCheck:
        """Raises BadRequestError for a ``response_format`` whose schema is not a JSON schema."""
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
        """Log it once for each policy: the cause is the engine's configuration."""
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
        """The kind of JSON that the client wants and its schema, by OpenAI's field or vLLM's."""
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
    """vLLM takes a schema as JSON or as a text that holds the JSON."""
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
    """Each tool's parameters by its name; None for a tool without them."""
    parameters = {}
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            parameters[function["name"]] = function.get("parameters")
    return parameters
