"""OpenAI's ``label_model``: a chat model gives an answer a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bon_gateway.backends.settings import FindKey
from bon_gateway.verdicts import Verdict, VerdictOutcome, abstained
from bon_gateway.verifiers.graders.model import ModelGrader, ModelGraderSettings


class LabelModelSettings(ModelGraderSettings):
    """OpenAI's grader: a chat model gives an answer a label. The score is 1 or 0."""

    type: Literal["label_model"]
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """The labels to choose from."""
    passing_labels: Annotated[tuple[str, ...], Field(min_length=1)]
    """Labels that pass."""

    @model_validator(mode="after")
    def _passing_ones_are_labels(self) -> Self:
        unknown = [label for label in self.passing_labels if label not in self.labels]
        if unknown:
            raise ValueError(f"passing_labels: {unknown[0]!r} is none of the labels")
        return self

    def build(self, keys: FindKey) -> LabelModel:
        return LabelModel(self, keys(self.api_key_env))


class LabelModel(ModelGrader):
    schema = "label"

    def __init__(self, settings: LabelModelSettings, key: str | None) -> None:
        super().__init__(settings, key)
        self._labels = settings.labels
        self._passing = settings.passing_labels

    def result_schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": [*self._labels]}

    def grade(self, result: Any) -> Verdict:
        if result not in self._labels:
            return abstained("no_verdict")
        if result in self._passing:
            return Verdict(VerdictOutcome.PASS, str(result), 1.0)
        return Verdict(VerdictOutcome.FAIL, str(result), 0.0)
