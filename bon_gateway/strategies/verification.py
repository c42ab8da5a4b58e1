"""Verifies the candidates of one request, each as soon as it has arrived.

Identical answers are verified once. A candidate that fails may win only if all candidates fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import orjson

from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import Verifiers
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.types import Completion, NonTextParts, Tier
from bon_gateway.verdicts import Verdict, VerdictOutcome

PARTS: NonTextParts = "send"
"""Verifiers get the conversation as the client sent it."""

Verdicts = Mapping[str, Verdict]
"""Verdicts by the verifier's name."""


class _Asked(msgspec.Struct, frozen=True):
    verdicts: dict[str, Verdict]
    """Verdicts so far."""
    task: asyncio.Task[None]


class Verification:
    """Its tasks belong to the caller's TaskGroup. The caller must call ``stop`` before it leaves
    that group, or the group waits for verdicts that no candidate needs."""

    def __init__(self, view: RewardView, verifiers: Verifiers, tasks: asyncio.TaskGroup) -> None:
        self._view = view
        self._verifiers = verifiers
        self._tasks = tasks
        self._asked: dict[bytes, _Asked] = {}
        """Work by the answer as JSON."""

    @property
    def on_all_failed(self) -> str:
        return self._verifiers.on_all_failed

    @property
    def judging(self) -> JudgeUsage | None:
        """Cost of chat models, if any was asked."""
        verdicts = [one for asked in self._asked.values() for one in asked.verdicts.values()]
        known = [one.judging for one in verdicts if one.judging is not None]
        return sum(known, JudgeUsage()) if known else None

    async def verify(self, completion: Completion) -> Verdicts:
        asked = self._ask(completion)
        # Not `await asked.task`: cancelling one candidate's wait must not cancel another's.
        await asyncio.wait([asked.task])
        return dict(asked.verdicts)

    def give_up(self, completion: Completion) -> Verdicts:
        """The verdicts so far, with abstentions in place of missing ones."""
        asked = self._ask(completion)
        self._verifiers.give_up(asked.verdicts)
        return dict(asked.verdicts)

    def stop(self) -> None:
        """Stop running verifications: no candidate waits for them."""
        for asked in self._asked.values():
            asked.task.cancel()

    def _ask(self, completion: Completion) -> _Asked:
        answer = self._view.answer(completion.message)
        key = orjson.dumps(answer)
        asked = self._asked.get(key)
        if asked is None:
            verdicts: dict[str, Verdict] = {}
            work = self._verifiers.verify(self._view.request, answer, verdicts)
            asked = self._asked[key] = _Asked(verdicts, self._tasks.create_task(work))
        return asked


def tier_of(tier: Tier, verdicts: Verdicts | None) -> Tier:
    """The tier of a candidate that had ``tier`` before it was verified."""
    if not any(one.outcome is VerdictOutcome.FAIL for one in (verdicts or {}).values()):
        return tier
    return Tier.REFUTED if tier is Tier.ANSWER else Tier.REFUTED_EMPTY
