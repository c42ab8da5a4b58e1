"""The words of a comparison: a request, and what came of it. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

OK = "ok"


class Key(NamedTuple):
    """One request of the plan."""

    phase: str
    arm: str
    prompt: int
    """Its index in the prompts."""
    repeat: int


@dataclass(frozen=True, slots=True)
class ListedCandidate:
    """One candidate, as the answer lists it."""

    status: str
    reward: float | None
    tokens: int
    text: str | None
    """None where the endpoint does not give it."""


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """What came of one request; a line of ``records.jsonl``."""

    key: Key
    intended_s: float
    """When it should have been sent, after the start of its phase."""
    sent_s: float
    latency_s: float
    """From the intended start to the end of the answer, or to the failure."""
    first_token_s: float | None = None
    """From the intended start; None without streaming."""
    outcome: str = OK
    """``ok``, or the kind of failure."""
    status: int | None = None
    """HTTP status of a failure, where there was one."""
    error: str | None = None
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of all candidates, as ``usage`` says."""
    winner_tokens: int = 0
    discarded_tokens: int = 0
    reward_tokens: int = 0
    n: int = 1
    reward: float | None = None
    degraded: str | None = None
    candidates: tuple[ListedCandidate, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.outcome == OK

    @property
    def metered(self) -> bool:
        """Whether its tokens are known: every prompt has some."""
        return self.ok and self.prompt_tokens > 0

    @property
    def service_s(self) -> float:
        """From the moment it was really sent."""
        return self.latency_s - (self.sent_s - self.intended_s)
