from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reward_server.errors import DeadlineError, NonFiniteRewardError, StartupError
from reward_server.model_settings import EnsembleSettings, ModelSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.ensemble import EnsembleScorer
from reward_server.scoring.scorer import ScoreOptions
from reward_server.testing import FakeForward, answer_length, answer_of, fake_scorer

ITEM = ScoreItem(messages=[{"role": "user", "content": "q"}], completions=["abcd", "ab", "z"])
SPREAD = {"long": {"mean": 2.0, "std": 2.0}, "early": {"mean": 100.0, "std": 10.0}}


def ensemble_settings(**changes: Any) -> EnsembleSettings:
    return EnsembleSettings.model_validate(
        {"type": "ensemble", "members": ["long", "early"], "normalisation": SPREAD, **changes}
    )


@asynccontextmanager
async def ensemble(
    forwards: dict[str, FakeForward], **changes: Any
) -> AsyncIterator[EnsembleScorer]:
    scorers = {
        name: fake_scorer(ModelSettings(model=name), forward=forward)
        for name, forward in forwards.items()
    }
    for scorer in scorers.values():
        await scorer.start()
    try:
        yield EnsembleScorer("both", scorers, ensemble_settings(**changes))
    finally:
        for name, scorer in scorers.items():
            forwards[name].gate.set()
            await scorer.close()


def forwards() -> dict[str, FakeForward]:
    return {
        "long": FakeForward(answer_length, shares_prompts=True),
        "early": FakeForward(lambda s: float(ord((answer_of(s) + "k")[0]))),
    }


async def test_rewards_are_standardised_and_joined_and_shown_by_member() -> None:
    async with ensemble(forwards(), combine="min") as both:
        result = await both.score([ITEM, ITEM])
    first = result.results[0]
    assert first.labels == {
        "long": pytest.approx([1.0, 0.0, -0.5]),
        "early": pytest.approx([-0.3, -0.3, 2.2]),
    }
    assert first.rewards == pytest.approx([-0.3, -0.3, -0.5])
    assert result.results[1] == first
    assert result.usage.sequences == 12


async def test_its_page_tells_what_it_is_made_of() -> None:
    async with ensemble(forwards(), combine="mean_minus_variance", penalty=0.5) as both:
        assert both.info.members == ("long", "early")
        assert both.info.penalty == 0.5
        assert both.info.max_tokens == 512


async def test_an_announcement_reaches_every_member() -> None:
    made = forwards()
    async with ensemble(made) as both:
        announced = await both.announce([{"role": "user", "content": "what?"}])
    assert announced.kept
    assert announced.tokens == len("<user:what?><assistant:")
    assert [len(f.prefixes) for f in made.values()] == [1, 0]


async def test_one_member_that_fails_fails_the_call_and_stops_the_others() -> None:
    made = forwards()
    made["early"] = FakeForward(lambda _: float("nan"))
    async with ensemble(made) as both:
        made["long"].gate.clear()
        with pytest.raises(NonFiniteRewardError):
            await asyncio.wait_for(both.score([ITEM]), 20)


async def test_a_deadline_holds_for_all() -> None:
    made = forwards()
    async with ensemble(made) as both:
        made["long"].gate.clear()
        with pytest.raises(DeadlineError):
            await both.score([ITEM], ScoreOptions(deadline_s=0.05))


async def test_a_member_of_unknown_spread_needs_one_in_the_settings() -> None:
    scorers = {
        "long": fake_scorer(ModelSettings(model="x"), normalisation={"mean": 1.0, "std": 2}),
        "early": fake_scorer(ModelSettings(model="early"), normalisation={"mean": 1.0}),
    }
    with pytest.raises(StartupError, match="'early'"):
        EnsembleScorer("both", scorers, ensemble_settings(normalisation={}))
    EnsembleScorer("both", scorers, ensemble_settings(normalisation={"early": SPREAD["early"]}))
