"""OpenAI's ``multi``: a formula over the scores of other graders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bon_common.grading.formula import Formula
from bon_common.together import together
from bon_gateway.backends.settings import FindKey
from bon_gateway.judging import JudgeUsage
from bon_gateway.sections.base import check_part
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import ONLY_CALLS, Verdict, VerdictOutcome, abstained
from bon_gateway.verifiers.graders.single import AnyGrader
from bon_gateway.verifiers.scored import ScoredSettings, scored
from bon_gateway.verifiers.verifier import Verifier


class MultiSettings(ScoredSettings):
    """OpenAI's grader: a formula over the scores of other graders."""

    type: Literal["multi"]
    graders: Annotated[dict[str, AnyGrader], Field(min_length=1)]
    """The graders, by the names that the formula uses."""
    calculate_output: str
    """The formula: numbers, names, ``+ - * / ^``, brackets, ``min``, ``max``, ``abs``, ``floor``,
    ``ceil``, ``exp``, ``sqrt`` and ``log``. It abstains if a grader that it names abstains, or if
    its value is not finite."""

    @model_validator(mode="after")
    def _formula_fits(self) -> Self:
        try:
            formula = Formula(self.calculate_output)
        except ValueError as error:
            raise ValueError(f"calculate_output: {error}") from None
        unknown = sorted(formula.names - self.graders.keys())
        if unknown:
            raise ValueError(f"calculate_output: no grader is named {unknown[0]!r}")
        unused = sorted(self.graders.keys() - formula.names)
        if unused:
            raise ValueError(f"graders: calculate_output does not use {unused[0]!r}")
        return self

    @property
    def key_variables(self) -> Mapping[str, str]:
        return {
            f"graders.{name}.{key}": variable
            for name, grader in self.graders.items()
            for key, variable in grader.key_variables.items()
        }

    def check(self) -> None:
        for name, grader in self.graders.items():
            check_part(f"graders.{name}", grader)

    def build(self, keys: FindKey) -> MultiGrader:
        return MultiGrader(self, {name: one.build(keys) for name, one in self.graders.items()})


class MultiGrader(Verifier):
    """Asks all graders at the same time."""

    def __init__(self, settings: MultiSettings, graders: Mapping[str, Verifier]) -> None:
        self.asks = any(grader.asks for grader in graders.values())  # type: ignore[misc]
        self._graders = graders
        self._formula = Formula(settings.calculate_output)
        self._threshold = settings.pass_threshold

    async def start(self) -> None:
        for grader in self._graders.values():
            await grader.start()

    async def close(self) -> None:
        for grader in self._graders.values():
            await grader.close()

    async def trial(self) -> Mapping[str, str | None]:
        found = [await grader.trial() for grader in self._graders.values()]
        return {place: wrong for one in found for place, wrong in one.items()}

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        columns = await together(one.verify(request, answers) for one in self._graders.values())
        return [self._joint(row) for row in zip(*columns, strict=True)]

    def _joint(self, row: Sequence[Verdict]) -> Verdict:
        by_name = dict(zip(self._graders, row, strict=True))
        known = [one.judging for one in row if one.judging is not None]
        judging = sum(known, JudgeUsage()) if known else None
        silent = [(name, verdict) for name, verdict in by_name.items() if verdict.silent]
        for name, verdict in silent:
            if verdict.reason != ONLY_CALLS:
                return _with(abstained(f"{name} abstains"), judging)
        if silent:
            return _with(abstained(ONLY_CALLS), judging)
        value = self._formula.value({name: score_of(one) for name, one in by_name.items()})
        if value is None:
            return _with(abstained("no_finite_value"), judging)
        return scored(value, self._threshold, judging=judging)


def score_of(verdict: Verdict) -> float:
    """The score, or 1 for a pass and 0 for a fail. Do not call it for an abstention."""
    if verdict.score is not None:
        return verdict.score
    return float(verdict.outcome is VerdictOutcome.PASS)


def _with(verdict: Verdict, judging: JudgeUsage | None) -> Verdict:
    return Verdict(verdict.outcome, verdict.reason, verdict.score, judging)
