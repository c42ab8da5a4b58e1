"""The final answer is a number that is near the expected one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from bon_common.selection.extract.numbers import last_number
from bon_gateway.backends.settings import FindKey
from bon_gateway.strategies.extract import CandidateAnswer, LastNumberSettings
from bon_gateway.strategies.votes import AnyExtract
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, abstained, failed
from bon_gateway.verifiers.expected import ExpectingSettings, expected, not_found
from bon_gateway.verifiers.template import LackingError
from bon_gateway.verifiers.verifier import LocalVerifier


class NumericSettings(ExpectingSettings):
    """The final answer is a number that is near the expected one."""

    type: Literal["numeric"]
    extract: AnyExtract = LastNumberSettings()
    """Where the final answer stands, as for strategies that vote; its last number counts."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far from the expected number it may be."""
    relative_tolerance: Annotated[float, Field(ge=0)] = 1e-9
    """The same as a share of the expected number. The larger of the two counts."""

    @property
    def reads_all(self) -> bool:
        return False

    def build(self, keys: FindKey) -> NumericVerifier:
        return NumericVerifier(self)


class NumericVerifier(LocalVerifier):
    def __init__(self, settings: NumericSettings) -> None:
        super().__init__()
        self._settings = settings
        self._find = settings.extract.build()
        self.reads_calls = settings.extract.type == "tool_calls"

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        settings = self._settings
        try:
            wanted = _number(expected(settings, self._find, request, answer, text))
        except LackingError as lacking:
            return lacking.verdict()
        if wanted is None:
            return abstained("reference_is_no_number")
        found = _number(self._find(CandidateAnswer(text, answer.get("tool_calls") or ())))
        if found is None:
            return not_found("no_number", answer, text)
        most = max(settings.tolerance, settings.relative_tolerance * abs(wanted))
        return PASSED if abs(found - wanted) <= most else failed("different")


def _number(text: str | None) -> float | None:
    plain = None if text is None else last_number(text)
    number = None if plain is None else float(plain)
    return number if number is not None and math.isfinite(number) else None
