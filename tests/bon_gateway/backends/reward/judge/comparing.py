"""Shared by tests of methods: judges with a rule (most compare answers), and a call of score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest, Scores
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, judge, started

Words = Callable[[Sequence[str]], str]


def worth(answer: str) -> int:
    """Answers of these tests end with a number. A higher one is better."""
    last = answer.rsplit(maxsplit=1)[-1]
    return int(last) if last.isdigit() else 0


def better(prompt: str) -> Chances:
    """Prefers the answer that is worth more, and slightly the one shown first."""
    first, second = map(worth, fenced(prompt))
    if first == second:
        return {"C": 0.6, "A": 0.3, "B": 0.1}
    return {"A": 0.8, "B": 0.2} if first > second else {"B": 0.6, "A": 0.4}


def writing(words: Words) -> FakeJudge:
    """Writes what the answers make it say, and gives no log-probabilities."""
    return FakeJudge(lambda prompt: {words(fenced(prompt)): 1.0}, logprobs=False)


def texts(*worths: int) -> list[str]:
    return [f"answer {one}" for one in worths]


def messages(shown: Sequence[str]) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text} for text in shown]


async def compared(
    upstream: FakeUpstream, fake: FakeJudge, shown: Sequence[str], **settings: Any
) -> Scores:
    upstream.script = fake
    backend = judge(upstream, **settings)
    async with started(backend):
        after_warm_up(upstream, fake)
        fake.prompts.clear()
        return await backend.score(RewardRequest(MESSAGES), messages(shown))
