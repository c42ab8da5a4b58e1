"""The answer is JSON that fits a schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import PositiveInt

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.settings import FindKey
from bon_gateway.schemas.checks import Fit, SchemaChecks
from bon_gateway.schemas.dialects import NotASchemaError, UnreadablePatternError, compile_any
from bon_gateway.types import PASSED, Message, RewardRequest, Verdict, abstained, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import Verifier, text_of

_FENCED = re.compile(r"\s*```\w*\n(.*)\n?```\s*", re.DOTALL)


class JsonSchemaSettings(VerifierSettings):
    """The answer is JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any]
    """The JSON schema. ``$schema`` names its dialect; without it 2020-12, draft 7 and draft 4 are
    tried. Formats are not checked, and other documents are not read."""
    fenced: bool = False
    """Also accept JSON in a Markdown fence. Clients get the answer with its fence."""
    check_ms: PositiveInt = 250
    """Milliseconds of CPU time for one answer. It abstains if that is too short."""

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
        return [await self._one(text_of(answer)) for answer in answers]

    async def _one(self, text: str) -> Verdict:
        fence = _FENCED.fullmatch(text) if self._fenced else None
        if fence is not None:
            text = fence[1]
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
