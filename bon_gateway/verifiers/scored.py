"""Verdicts of verifiers that give a score."""

from __future__ import annotations

from bon_gateway.types import JudgeUsage, Verdict, VerdictOutcome
from bon_gateway.verifiers.settings import VerifierSettings

BELOW = "below_threshold"


class ScoredSettings(VerifierSettings):
    """Settings of verifiers that give a score."""

    pass_threshold: float | None = None
    """Lowest score that passes. None lets every answer pass: use that only in a reward, where the
    score itself counts."""

    @property
    def decides(self) -> bool:
        return self.pass_threshold is not None


def scored(
    score: float,
    threshold: float | None,
    reason: str | None = None,
    judging: JudgeUsage | None = None,
) -> Verdict:
    if threshold is None or score >= threshold:
        return Verdict(VerdictOutcome.PASS, reason, score, judging)
    return Verdict(VerdictOutcome.FAIL, reason or BELOW, score, judging)
