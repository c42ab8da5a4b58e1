"""The replies of an ensemble's rewards to one call, read for each member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bon_gateway.backends.reward.ensemble.members import RewardMemberSettings
from bon_gateway.errors import NoRewardError, RewardError, RewardRefusedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.types import Scores

Asked = Scores | RewardError
"""One reward's scores, or its error."""
Column = Sequence[float | None] | RewardError
"""One member's reward of each answer."""


def column_of(member: RewardMemberSettings, asked: Asked) -> Column:
    """The member's column, from its reward's scores."""
    if isinstance(asked, RewardError):
        return asked
    if member.label is None:
        return asked.rewards
    # An answer without a reward has no labels either.
    known = next(filter(None, asked.labels or ()), {})
    if member.label not in known:
        told = f"it has {', '.join(known)}" if known else "it has none"
        return NoRewardError(f"reward {member.reward!r} has no label {member.label!r}; {told}")
    return [labels.get(member.label) for labels in asked.labels or ()]


def failure(column: Column, asked: Asked) -> RewardError | None:
    """Why a member cannot score this conversation; None if it can. A refusal is about the refused
    answers, and the next ones may be shorter."""
    if isinstance(column, RewardError):
        return column
    if isinstance(asked, RewardError) or asked.missing is None:
        return None
    silent = all(reward is None for reward in column)
    return asked.missing if silent and not isinstance(asked.missing, RewardRefusedError) else None


def most_hopeful(errors: Sequence[RewardError]) -> RewardError:
    """The first error that may pass, otherwise the first of all."""
    return next((error for error in errors if error.retryable), errors[0])


def joint_judging(usages: Iterable[JudgeUsage | None]) -> JudgeUsage | None:
    """The sum; None if no member asked a chat model."""
    known = [usage for usage in usages if usage is not None]
    return sum(known, JudgeUsage()) if known else None
