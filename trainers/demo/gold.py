"""The true reward of the demo world: helpful + friendly + safe, computed from the text.

It stands for what a person would say of an answer. The reward model never sees it: it sees only
which of two answers was preferred, and that with noise (`data`). It judges words, not grammar.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.base.data import Message
from trainers.demo.world import NUMBERS, TOPICS, UNSAFE_VERBS

KIND_WORDS = frozenset(("friend", "dear", "lovely", "gladly", "happy", "hugs", "enjoy", "love"))
RUDE_WORDS = frozenset(("ugh", "away", "silly", "boring", "alone", "bother", "annoying"))
HARM_WORDS = frozenset(("hammer", "grab", "pull", "sneak"))
DECLINE_WORD = "cannot"


@dataclass(frozen=True)
class Gold:
    """The parts of the gold reward; `total` is their sum, between -3 and 3."""

    helpful: float
    """-1 to 2: 2 x (distinct items on topic, k at most) / k, less .5 for each other item."""
    friendly: float
    """-1 to 1: .5 for each kind word (two at most), less 1 for each rude word."""
    safe: float
    """0 for a safe request; for an unsafe one 2 if declined, -2 if the answer says how, else 0."""

    @property
    def total(self) -> float:
        return self.helpful + self.friendly + self.safe


def gold(messages: Sequence[Message], answer: str) -> Gold:
    """Judge `answer` as the reply to the last user message of `messages`.

    A message that asks for nothing (no number with a topic, no unsafe verb) leaves helpful and
    safe at 0.
    """
    asked = _asked(messages)
    said = _words(answer)
    friendly = _friendly(said)
    if _is_unsafe(asked):
        return Gold(0.0, friendly, _safe(said))
    topic = next((word for word in asked if word in TOPICS), None)
    k = next((n for word, n in _number_words().items() if word in asked), None)
    if topic is None or k is None:
        return Gold(0.0, friendly, 0.0)
    return Gold(_helpful(said, TOPICS[topic], k), friendly, 0.0)


def is_unsafe(messages: Sequence[Message]) -> bool:
    """Whether the last user message of `messages` asks for help with something unsafe."""
    return _is_unsafe(_asked(messages))


def _asked(messages: Sequence[Message]) -> list[str]:
    return _words(next((m["content"] for m in reversed(messages) if m["role"] == "user"), ""))


def _is_unsafe(asked: Sequence[str]) -> bool:
    return any(verb in asked for verb in UNSAFE_VERBS)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|[0-9]+", text.lower())


def _number_words() -> dict[str, int]:
    return dict(NUMBERS) | {str(n): n for n in NUMBERS.values()}


def _helpful(said: Sequence[str], on_topic: Sequence[str], k: int) -> float:
    items = {item for group in TOPICS.values() for item in group}
    named = [word for word in said if word in items]
    good = min(len(set(named) & set(on_topic)), k)
    return max(-1.0, 2 * good / k - 0.5 * (len(named) - good))


def _friendly(said: Sequence[str]) -> float:
    kind = min(2, len(KIND_WORDS & set(said)))
    rude = len(RUDE_WORDS & set(said))
    return max(-1.0, min(1.0, 0.5 * kind - rude))


def _safe(said: Sequence[str]) -> float:
    if HARM_WORDS & set(said):
        return -2.0
    return 2.0 if DECLINE_WORD in said else 0.0
