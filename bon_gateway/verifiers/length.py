"""The answer is long enough, and not too long."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import LocalVerifier


class LengthSettings(VerifierSettings):
    """The answer is long enough, and not too long. The policy's ``max_tokens`` limits tokens."""

    type: Literal["length"]
    unit: Literal["characters", "words"] = "words"
    """Unit of the length. White space separates words; count characters for languages without
    it."""
    min: Annotated[int, Field(ge=0)] = 0
    """Shortest answer that passes."""
    max: Annotated[int, Field(ge=0)] | None = None
    """Longest answer that passes. None sets no limit."""

    @model_validator(mode="after")
    def _some_length_passes(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        if self.max is None and self.min == 0:
            raise ValueError("set min, max or both")
        return self

    def build(self, keys: FindKey) -> LengthVerifier:
        return LengthVerifier(self)


class LengthVerifier(LocalVerifier):
    def __init__(self, settings: LengthSettings) -> None:
        super().__init__()
        self._settings = settings

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        settings = self._settings
        length = len(text.split()) if settings.unit == "words" else len(text.strip())
        if length < settings.min:
            return failed("too_short")
        too_long = settings.max is not None and length > settings.max
        return failed("too_long") if too_long else PASSED
