"""Cost of chat models that judge answers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class JudgeUsage(msgspec.Struct, frozen=True):
    """Cost of verdicts from chat models."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """The part of ``prompt_tokens`` that came from the engine's cache, as far as it says."""
    completion_tokens: int = 0
    abstentions: int = 0
    """Missing verdicts: refused, unreadable, failed or beyond a budget."""

    def __add__(self, other: JudgeUsage) -> JudgeUsage:
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return JudgeUsage(*[a + b for a, b in zip(mine, theirs, strict=True)])


class JudgeBill:
    """Cost of chat models for one request so far. Failed and cancelled calls count, because an API
    key pays for them too. ``paid`` is called for each payment."""

    __slots__ = ("_paid", "usage")

    def __init__(self, paid: Callable[[JudgeUsage], None] | None = None) -> None:
        self.usage = JudgeUsage()
        self._paid = paid

    def add(self, usage: JudgeUsage) -> None:
        self.usage += usage
        if self._paid is not None:
            self._paid(usage)
