"""What a fake upstream does: as the test says, and otherwise an answer that the seed decides."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as the fake upstream received it."""

    ordinal: int
    """How many requests came before it; probes and lists of models are not counted."""
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def candidate(self) -> int | None:
        """The candidate's index, which the gateway appends to ``x-request-id``."""
        index = self.headers.get("x-request-id", "").rpartition("-")[2]
        return int(index) if index.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Step:
    """How one request is answered. The default is a plain, whole answer at once."""

    delay_s: float = 0.0
    """Before the first byte."""
    token_s: float = 0.0
    """Further delay for each token."""
    hold: asyncio.Event | None = None
    """Nothing is sent until it is set."""
    status: int = 200
    error: Mapping[str, Any] | str | None = None
    """The ``error`` in the body, where ``status`` is not 200."""
    headers: Mapping[str, str] | None = None
    raw: bytes | None = None
    """The whole body, in place of any other."""
    cut_after: int | None = None
    """The connection is cut after this number of streamed tokens, or halfway through a whole body;
    0 cuts it before the first byte."""
    hang_after: int | None = None
    """Nothing is sent after this number of streamed tokens; a whole answer never comes."""
    stream_error: Mapping[str, Any] | None = None
    """An error event in place of the rest of the stream."""
    finish_reason: str | None = None
    text: str | None = None
    reasoning: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tokens: int | Sequence[int] | None = None
    """Length of the made-up answer, or of each answer of a request with several."""
    reward: float | None = None
    usage_details: Mapping[str, Any] | None = None
    """Further fields of the usage. vLLM with a reasoning parser counts reasoning tokens there."""
    streamed: Step | None = None
    """The step of a stream, in place of this one. vLLM parses a stream with other code than a whole
    answer, so one output of its engine may have two forms."""


PLAIN = Step()

Script = Callable[[Call], Step]
"""Called once for each request that counts."""


def by_ordinal(*steps: Step) -> Script:
    """A step for each request in their order; plain ones after the last."""

    def script(call: Call) -> Step:
        return steps[call.ordinal] if call.ordinal < len(steps) else PLAIN

    return script


def by_candidate(steps: Mapping[int, Step]) -> Script:
    """A candidate's step by its index; the others are plain."""

    def script(call: Call) -> Step:
        index = call.candidate
        return PLAIN if index is None else steps.get(index, PLAIN)

    return script


@lru_cache(maxsize=4096)
def fake_tokens(seed: int, count: int) -> tuple[str, ...]:
    """The made-up answer to a seed: ``count`` words, each one token."""
    state = zlib.crc32(b"%d" % seed)
    words = []
    for place in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        word = WORDS[(state >> 8) % len(WORDS)]
        words.append(word if place == 0 else " " + word)
    return tuple(words)


def fake_reward(text: str) -> float:
    """The made-up reward of an answer: a number from -10 to 10 that only its text decides."""
    return zlib.crc32(text.encode()) % 20001 / 1000 - 10
