"""Functions for `type: hook`, where a whole plugin would be too much."""

from __future__ import annotations

from collections.abc import Sequence

from bon_gateway.types import Candidate, ChatRequest, Message


def cheapest(request: ChatRequest, candidates: Sequence[Candidate]) -> int:
    """The place of the answer with the fewest tokens."""
    return min(range(len(candidates)), key=lambda place: candidates[place].tokens)


def politeness(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    """1 for an answer that says thank you, else 0."""
    return [float("thank you" in str(answer.get("content")).lower()) for answer in completions]
