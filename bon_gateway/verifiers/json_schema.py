"""The answer is JSON that fits a schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import PositiveInt, field_validator

from bon_common.selection.extract.fences import unfenced
from bon_common.settings.errors import SettingsError
from bon_gateway.backends.settings import FindKey
from bon_gateway.schemas.checks import Fit, SchemaChecks
from bon_gateway.schemas.dialects import (
    KEYWORDS,
    NotASchemaError,
    UnreadablePatternError,
    compile_any,
)
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import ONLY_CALLS, PASSED, Verdict, abstained, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import Verifier, only_calls, text_of

WRAPPER = frozenset({"name", "schema", "strict", "description"})
"""What OpenAI's ``response_format`` has around a schema."""


class JsonSchemaSettings(VerifierSettings):
    """The answer is JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any]
    """The JSON schema itself, without OpenAI's wrapper (``name`` and ``schema``). ``$schema`` names
    its dialect; without it 2020-12, draft 7 and draft 4 are tried. Formats are not checked, and
    other documents are not read. ``{}`` takes any JSON."""
    fenced: bool = False
    """Also accept JSON in a Markdown fence (three or more backticks or tildes, with or without a
    language). Text before or after the fence still fails. Clients get the answer with its fence."""
    check_ms: PositiveInt = 250
    """Milliseconds of CPU time for one answer. It abstains if that is too short."""

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        whole = schema.get("type") == "json_schema"
        wrapper: Any = schema.get("json_schema") if whole else schema
        wraps = isinstance(wrapper, dict) and isinstance(wrapper.get("schema"), dict)
        if wraps and not wrapper.keys() - WRAPPER:
            path = "json_schema.schema" if whole else "schema"
            raise ValueError(f"is OpenAI's wrapper of a schema; put here what is under {path}")
        if schema and not schema.keys() & KEYWORDS:
            raise ValueError(
                "has no keyword of JSON Schema, such as type or properties, so any JSON would fit;"
                " write {} if you want that"
            )
        return schema

    def check(self) -> None:
        try:
            compile_any(self.json_schema)
        except UnreadablePatternError:
            reason = "has a regular expression that cannot be read"
        except NotASchemaError as error:
            reason = f"is not a JSON schema: {error}"
        else:
            return
        raise SettingsError("settings", "json_schema", reason)

    def build(self, keys: FindKey) -> JsonSchemaVerifier:
        return JsonSchemaVerifier(self)


class JsonSchemaVerifier(Verifier):
    """Checks a costly schema in a separate process, in bounded time."""

    def __init__(self, settings: JsonSchemaSettings) -> None:
        self._fenced = settings.fenced
        self._checks = SchemaChecks(settings.check_ms / 1000)
        self._schema = self._checks.schema(settings.json_schema)

    async def close(self) -> None:
        await self._checks.close()

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        return [await self._one(answer, text_of(answer)) for answer in answers]

    async def _one(self, answer: Message, text: str) -> Verdict:
        if only_calls(answer, text):
            return abstained(ONLY_CALLS)
        if self._fenced:
            text = unfenced(text)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return failed("not_json")
        fits = self._schema.fits(text, value)
        if fits is None:
            fit = await self._schema.ask(text)
            if fit is Fit.UNKNOWN:
                return abstained("unchecked")
            fits = fit is Fit.YES
        return PASSED if fits else failed("violates_schema")
