"""OpenAI's ``score_model``: a chat model gives an answer a score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator

from bon_gateway.backends.settings import FindKey
from bon_gateway.verdicts import Verdict, abstained
from bon_gateway.verifiers.graders.model import ModelGrader, ModelGraderSettings
from bon_gateway.verifiers.scored import ScoredSettings, scored


class ScoreModelSettings(ModelGraderSettings, ScoredSettings):
    """OpenAI's grader: a chat model gives an answer a score. It abstains if the score is outside
    ``range``."""

    type: Literal["score_model"]
    range: tuple[float, float] = (0.0, 1.0)
    """The lowest and the highest score."""

    @field_validator("range")
    @classmethod
    def _ascends(cls, range_: tuple[float, float]) -> tuple[float, float]:
        if range_[0] >= range_[1]:
            raise ValueError("the first number should be below the second")
        return range_

    @property
    def scores(self) -> tuple[float, float]:
        return self.range

    def build(self, keys: FindKey) -> ScoreModel:
        return ScoreModel(self, keys(self.api_key_env))


class ScoreModel(ModelGrader):
    schema = "score"

    def __init__(self, settings: ScoreModelSettings, key: str | None) -> None:
        super().__init__(settings, key)
        self._range = settings.range
        self._threshold = settings.pass_threshold

    def result_schema(self) -> Mapping[str, Any]:
        # Some servers ignore bounds of numbers in a schema, and some refuse them.
        return {"type": "number"}

    def grade(self, result: Any) -> Verdict:
        if type(result) not in (int, float) or not math.isfinite(result):
            return abstained("no_verdict")
        lowest, highest = self._range
        if not lowest <= result <= highest:
            return abstained("out_of_range")
        return scored(float(result), self._threshold)
