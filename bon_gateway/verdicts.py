"""Verdicts of verifiers on answers."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bon_gateway.judging import JudgeUsage


class VerdictOutcome(StrEnum):
    """A verifier's decision about an answer."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    ABSTAIN = "abstain"
    """It cannot decide: it is down, too slow, or lacks something such as an expected answer."""


class Verdict(msgspec.Struct, frozen=True):
    """One verifier's verdict on one answer."""

    outcome: VerdictOutcome
    reason: str | None = None
    """The reason in a few words, without any text of the answer."""
    score: float | None = None
    """How good the answer is, if the verifier says more than pass and fail. An abstention with a
    score says how good the answer is, but not whether that is enough: nobody set a threshold."""
    judging: JudgeUsage | None = None
    """Cost of the verdict, if a chat model gave it."""

    @property
    def silent(self) -> bool:
        """Whether it says nothing about the answer, so that no reward can be made of it."""
        return self.outcome is VerdictOutcome.ABSTAIN and self.score is None


PASSED = Verdict(VerdictOutcome.PASS)
ONLY_CALLS = "only_tool_calls"
"""Why a verifier that reads text abstains on an answer that only calls tools. Nothing is wrong
then, so the answer is not degraded."""


def failed(reason: str, score: float | None = None) -> Verdict:
    return Verdict(VerdictOutcome.FAIL, reason, score)


def abstained(reason: str) -> Verdict:
    return Verdict(VerdictOutcome.ABSTAIN, reason)
