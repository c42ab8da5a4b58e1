"""Verdicts of verifiers that give a score."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from bon_gateway.judging import JudgeUsage
from bon_gateway.verdicts import Verdict, VerdictOutcome
from bon_gateway.verifiers.settings import VerifierSettings

BELOW = "below_threshold"
NO_THRESHOLD = "no_pass_threshold"


class ScoredSettings(VerifierSettings):
    """Settings of verifiers that give a score."""

    pass_threshold: float | None = None
    """Lowest score that passes. A ``verifier`` needs it; in a reward the score itself counts."""

    @property
    def scores(self) -> tuple[float, float] | None:
        """The lowest and the highest score that it can give; None if that is not known."""
        return None

    @model_validator(mode="after")
    def _threshold_is_in_reach(self) -> Self:
        if self.pass_threshold is not None and self.scores is not None:
            lowest, highest = self.scores
            if not lowest <= self.pass_threshold <= highest:
                raise ValueError(
                    f"pass_threshold: scores are from {lowest:g} to {highest:g}, so"
                    f" {self.pass_threshold:g} never decides"
                )
        return self

    @property
    def decides(self) -> bool:
        return self.pass_threshold is not None


def scored(
    score: float,
    threshold: float | None,
    reason: str | None = None,
    judging: JudgeUsage | None = None,
) -> Verdict:
    """The verdict on an answer with this score. Without a threshold it is an abstention that has a
    score: a reward can be made of it, but it cannot pass or fail an answer."""
    if threshold is None:
        return Verdict(VerdictOutcome.ABSTAIN, NO_THRESHOLD, score, judging)
    if score >= threshold:
        return Verdict(VerdictOutcome.PASS, reason, score, judging)
    return Verdict(VerdictOutcome.FAIL, reason or BELOW, score, judging)
