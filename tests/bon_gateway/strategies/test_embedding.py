"""Strategies that compare meaning, over a fake embedder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bon_gateway.errors import EmbedderError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.embedding import MOST_TEXTS, AnswerComparison
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.mbr import MbrSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.weighted_vote import WeightedVoteSettings
from bon_gateway.testing.fakes import Act, FakeEmbedder, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Selection

Ask = Callable[..., ChatRequest]
MEANING: Mapping[str, Sequence[float]] = {
    "Paris": [1.0, 0.0],
    "It is Paris": [0.95, 0.3],
    "paris!": [0.9, -0.4],
    "Rome": [0.0, 1.0],
    "It is Rome": [0.1, 1.0],
}
SEMANTIC = {"type": "semantic", "embedder": "e", "threshold": 0.8}
SIMILAR = {"type": "embedder", "embedder": "e"}


def policy(*texts: str) -> FakePolicy:
    return FakePolicy({place: Act((completion(text),)) for place, text in enumerate(texts)})


async def run(
    settings: DrawSettings,
    request: ChatRequest,
    *texts: str,
    embedder: FakeEmbedder | None = None,
    reward: FakeReward | None = None,
) -> Selection:
    trace = Trace(embedders={"e": embedder or FakeEmbedder(MEANING)})
    strategy = settings.build(Referee())
    return await strategy.run(request, policy(*texts), reward, trace)


def majority(n: int, **keys: Any) -> MajoritySettings:
    return MajoritySettings.model_validate(
        {"type": "majority", "n": n, "extract": SEMANTIC, "retries": 0, **keys}
    )


def mbr(n: int, **keys: Any) -> MbrSettings:
    return MbrSettings.model_validate(
        {"type": "mbr", "n": n, "similarity": SIMILAR, "beta": None, "retries": 0, **keys}
    )


TEXTS = ("Rome", "Rome", "It is Paris", "paris!", "Paris")


async def test_answers_that_mean_the_same_vote_together(ask: Ask) -> None:
    """No two of the three are equal. Each is near enough to the first of them."""
    embedder = FakeEmbedder(MEANING)
    selection = await run(majority(5), ask(), *TEXTS[:3], "Paris", "Paris", embedder=embedder)
    assert (selection.winners, selection.degraded) == ((2,), ())
    # Each text once.
    assert embedder.calls == [["Rome", "It is Paris", "Paris"]]
    assert selection.diversity is not None
    assert 0.3 < selection.diversity < 0.9


async def test_equal_texts_vote_where_the_embedder_is_down(ask: Ask) -> None:
    selection = await run(majority(5), ask(), *TEXTS, embedder=FakeEmbedder(MEANING, failures=1))
    assert (selection.winners, selection.degraded) == ((0,), ("embedder_unavailable",))
    assert selection.diversity is None


async def test_a_vector_of_zeros_is_a_failure_of_the_embedder(ask: Ask) -> None:
    """Otherwise four equal answers would be as different as can be."""
    lost = FakeEmbedder({"Paris": [0.0, 0.0]})
    for settings in (majority(4), mbr(4)):
        selection = await run(settings, ask(), *["Paris"] * 4, embedder=lost)
        assert selection.degraded == ("embedder_unavailable",)
        assert selection.diversity is None


async def test_answers_without_words_do_not_count_as_different(ask: Ask) -> None:
    trace = Trace(embedders={"e": FakeEmbedder(MEANING)})
    comparison = AnswerComparison(ask(), trace, asyncio.Lock())
    await comparison.consensus("e", ["Paris", "Paris", " ", ""])
    assert trace.diversity == 0.0


async def test_a_threshold_that_is_too_high_is_exact(ask: Ask) -> None:
    extract = {**SEMANTIC, "threshold": 1.0}
    assert (await run(majority(5, extract=extract), ask(), *TEXTS)).winners == (0,)


async def test_waves_embed_what_is_new(ask: Ask) -> None:
    embedder = FakeEmbedder(MEANING)
    texts = ("Paris", "Rome", "Paris", "It is Paris", "Rome", "paris!")
    selection = await run(majority(6, wave=2, stop_at=0.99), ask(), *texts, embedder=embedder)
    assert (selection.n, selection.winners) == (6, (0,))
    assert embedder.calls == [["Paris", "Rome"], ["It is Paris"], ["paris!"]]


async def test_one_that_fails_in_a_wave_is_not_asked_again(ask: Ask) -> None:
    embedder = FakeEmbedder(MEANING, failures=1)
    selection = await run(majority(4, wave=2, stop_at=0.99), ask(), *TEXTS[:4], embedder=embedder)
    assert (len(embedder.calls), selection.degraded) == (1, ("embedder_unavailable",))


async def test_rewards_weigh_the_votes_of_a_meaning(ask: Ask) -> None:
    settings = WeightedVoteSettings.model_validate(
        {"type": "weighted_vote", "n": 3, "extract": SEMANTIC, "retries": 0}
    )
    reward = FakeReward(rule=lambda message: 0.5 if "Paris" in message["content"] else 1.0)
    selection = await run(settings, ask(), "Rome", "Paris", "It is Paris", reward=reward)
    assert selection.winners == (1,)


async def test_consensus_by_meaning(ask: Ask) -> None:
    texts = ("Rome", "Paris", "It is Paris", "paris!")
    selection = await run(mbr(4), ask(top=4), *texts)
    # It lies between the three others.
    assert selection.winners[0] == 2
    assert (selection.winners[-1], selection.degraded) == (0, ())
    assert selection.diversity == pytest.approx(1 - mean_cosine(texts), abs=1e-9)


def mean_cosine(texts: Sequence[str]) -> float:
    units: list[tuple[float, float]] = []
    for text in texts:
        one, other = MEANING[text]
        length = math.hypot(one, other)
        units.append((one / length, other / length))
    pairs = [a[0] * b[0] + a[1] * b[1] for i, a in enumerate(units) for b in units[i + 1 :]]
    return sum(pairs) / len(pairs)


async def test_without_the_embedder_the_reward_alone_decides(ask: Ask) -> None:
    reward = FakeReward(rule=lambda message: float("Rome" in message["content"]))
    broken = FakeEmbedder(MEANING, failures=9)
    texts = ("Paris", "It is Paris", "Rome")
    whole = await run(mbr(3, beta=5.0), ask(), *texts, reward=reward)
    assert (whole.winners[0] in (0, 1), whole.degraded) == (True, ())
    lost = await run(mbr(3, beta=5.0), ask(), *texts, reward=reward, embedder=broken)
    assert (lost.winners, lost.degraded) == ((2,), ("embedder_unavailable",))
    alone = await run(mbr(3), ask(), *texts, embedder=FakeEmbedder(MEANING, failures=9))
    assert (alone.winners, alone.degraded) == ((0,), ("embedder_unavailable",))
    with pytest.raises(EmbedderError):
        await run(
            mbr(3, fallback="error"), ask(), *texts, embedder=FakeEmbedder(MEANING, failures=9)
        )


async def test_a_deadline_is_not_waited_beyond(ask: Ask) -> None:
    embedder = FakeEmbedder(MEANING, hold=asyncio.Event())
    async with asyncio.timeout(30):
        selection = await run(mbr(3, deadline_ms=50), ask(), "Rome", "Paris", "It is Paris",
                              embedder=embedder)  # fmt: skip
    assert (selection.winners, selection.degraded) == ((0,), ("embedder_unavailable",))
    assert embedder.cancelled == 1


async def test_vectors_that_do_not_compare(ask: Ask) -> None:
    mixed = {**MEANING, "Rome": [1.0, 0.0, 0.0]}
    selection = await run(mbr(2), ask(), "Paris", "Rome", embedder=FakeEmbedder(mixed))
    assert selection.degraded == ("embedder_unavailable",)


async def test_there_are_only_so_many(ask: Ask) -> None:
    trace = Trace(embedders={"e": FakeEmbedder({})})
    comparison = AnswerComparison(ask(), trace, asyncio.Lock())
    with pytest.raises(EmbedderError, match=f"more than {MOST_TEXTS} answers"):
        await comparison.consensus("e", [str(place) for place in range(MOST_TEXTS + 1)])


async def test_a_text_without_a_word_is_not_sent(ask: Ask) -> None:
    embedder = FakeEmbedder(MEANING)
    trace = Trace(embedders={"e": embedder})
    comparison = AnswerComparison(ask(), trace, asyncio.Lock())
    found = await comparison.consensus("e", ["Paris", " ", "Paris"])
    assert found == pytest.approx([0.5, 0.0, 0.5])
    assert embedder.calls == [["Paris"]]
    assert await comparison.classes("e", 0.5, ["Paris", "", "Paris"]) == [0, 1, 0]
