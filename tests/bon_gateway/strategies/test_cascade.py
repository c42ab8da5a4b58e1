"""The cheap policy first, and the better one where the first is not good enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.errors import (
    BadRequestError,
    DeadlineError,
    NoRewardError,
    NoUpstreamError,
    PolicyFailedError,
    RewardError,
)
from bon_gateway.protocols import Trace
from bon_gateway.strategies.cascade import CascadeSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Completion, Message, Selection, Stopped

Ask = Callable[..., ChatRequest]
DOWN = NoUpstreamError("down")


def says(*texts: str, first: int = 0, prompt_tokens: int = 5) -> FakePolicy:
    """A policy whose candidates from index ``first`` on say these texts."""
    made = [completion(text, prompt_tokens=prompt_tokens) for text in texts]
    return FakePolicy({first + place: Act((one,)) for place, one in enumerate(made)})


async def run(
    request: ChatRequest,
    small: FakePolicy,
    large: FakePolicy,
    reward: FakeReward | None = None,
    **settings: Any,
) -> Selection:
    keys = {"threshold": 5.0, "first_n": 1, "n": 2, **settings}
    strategy = CascadeSettings.model_validate({"type": "cascade", "first": "small", **keys}).build(
        Referee()
    )
    trace = Trace(policy="large", policies={"small": small})
    async with asyncio.timeout(20):
        selection = await strategy.run(request, large, reward or FakeReward(), trace)
    assert selection.n <= strategy.drawn(request)
    return selection


def labels(selection: Selection) -> list[str | None]:
    return [candidate.variant for candidate in selection.candidates]


async def test_a_good_cheap_answer_is_the_answer(ask: Ask) -> None:
    large = says("answer 9", "answer 9", first=1)
    selection = await run(ask(), says("answer 5"), large)
    assert (selection.n, selection.winners, selection.rounds) == (1, (0,), 1)
    assert selection.stopped is Stopped.GOOD_ENOUGH
    assert (labels(selection), selection.degraded, large.requests) == (["small"], (), [])
    assert selection.usage.prompt_tokens == 5
    assert selection.usage.reward_tokens == 10


@pytest.mark.parametrize(
    ("texts", "winner"),
    [(("answer 4", "answer 7", "answer 6"), 1), (("answer 4", "answer 1", "answer 3"), 0)],
    ids=["a better one wins", "the cheap one stays"],
)
async def test_otherwise_the_best_of_all_is(ask: Ask, texts: tuple[str, ...], winner: int) -> None:
    small = says(texts[0], prompt_tokens=5)
    large = says(*texts[1:], first=1, prompt_tokens=7)
    selection = await run(ask(), small, large)
    assert (selection.n, selection.winners, selection.rounds) == (3, (winner,), 2)
    assert selection.stopped is Stopped.ESCALATED
    assert labels(selection) == ["small", "large", "large"]
    usage = selection.usage
    # Each policy reads the prompt.
    assert (usage.prompt_tokens, usage.completion_tokens, usage.reward_tokens) == (12, 9, 30)
    assert usage.winner_tokens == 3


async def test_seeds_and_indices_go_on_at_the_better_policy(ask: Ask) -> None:
    small, large = says("answer 0", "answer 1"), FakePolicy()
    await run(ask(seed=3), small, large, first_n=2, threshold=9)
    assert sorted(small.attempts) == [0, 1]
    assert sorted(large.attempts) == [2, 3]
    assert large.requests[0].seed_of(2) == 5


async def test_one_good_of_several_is_enough(ask: Ask) -> None:
    selection = await run(ask(), says("answer 1", "answer 8"), FakePolicy(), first_n=2)
    assert (selection.n, selection.winners) == (2, (1,))


async def test_a_client_that_wants_several_needs_as_many_good_ones(ask: Ask) -> None:
    small = says("answer 6", "answer 8")
    selection = await run(ask(top=2), small, FakePolicy(), first_n=2)
    assert (selection.n, selection.winners) == (2, (1, 0))
    large = says("answer 7", "answer 2", first=1)
    selection = await run(ask(top=2), says("answer 6"), large)
    assert (selection.stopped, selection.winners) == (Stopped.ESCALATED, (1, 0))


@pytest.mark.parametrize(
    "poor",
    [
        completion("9", finish_reason="length"),
        completion(" \n"),
        completion("", finish_reason="stop"),
    ],
    ids=["cut", "blank", "invalid"],
)
async def test_only_a_whole_answer_is_good_enough(ask: Ask, poor: Completion) -> None:
    def rule(message: Message) -> float:
        return 0.0 if message["content"].startswith("answer") else 99.0

    small = FakePolicy({0: Act((poor,))})
    selection = await run(ask(), small, says("answer", "answer", first=1), FakeReward(rule))
    assert (selection.stopped, selection.winners) == (Stopped.ESCALATED, (1,))


async def test_a_greedy_request_has_one_candidate_of_each(ask: Ask) -> None:
    small, large = says("answer 1"), says("answer 2", first=1)
    selection = await run(ask(temperature=0), small, large, first_n=4, n=4)
    assert (selection.n, selection.winners, labels(selection)) == (2, (1,), ["small", "large"])
    selection = await run(ask(temperature=0), says("answer 8"), large, first_n=4, n=4)
    assert (selection.n, selection.stopped) == (1, Stopped.GOOD_ENOUGH)
    with pytest.raises(BadRequestError, match="temperature 0"):
        await run(ask(temperature=0, top=2), small, large)


async def test_while_the_first_policy_is_down_the_better_one_answers(ask: Ask) -> None:
    small = FakePolicy({0: Act((DOWN,))})
    selection = await run(ask(), small, says("answer 1", "answer 2", first=1))
    assert (selection.winners, selection.stopped) == ((2,), Stopped.ESCALATED)
    assert selection.degraded == ("candidates_failed",)
    assert labels(selection)[0] == "small"


async def test_while_the_better_policy_is_down_the_first_one_answers(ask: Ask) -> None:
    large = FakePolicy({i: Act((DOWN,)) for i in (1, 2)})
    selection = await run(ask(), says("answer 1"), large)
    assert (selection.winners, selection.stopped) == ((0,), Stopped.ESCALATED)
    assert selection.degraded == ("candidates_failed",)


async def test_without_rewards_the_first_policy_answers_for_all(ask: Ask) -> None:
    large = FakePolicy()
    selection = await run(ask(), says("answer 1"), large, FakeReward(failures=99), retries=0)
    assert (selection.winners, selection.stopped) == ((0,), Stopped.UNJUDGED)
    assert selection.degraded == ("reward_unavailable",)
    assert large.requests == []
    with pytest.raises(RewardError):
        await run(ask(), says("answer 1"), large, FakeReward(failures=99), fallback="error")
    down = FakeReward(is_ready=False)
    with pytest.raises(NoRewardError):
        await run(ask(), says("answer 1"), large, down, fallback="error")


async def test_without_rewards_confidence_may_choose(ask: Ask) -> None:
    acts = {0: completion("a", logprobs=[-2.0]), 1: completion("b", logprobs=[-1.0])}
    small = FakePolicy({index: Act((one,)) for index, one in acts.items()})
    broken = FakeReward(failures=99)
    selection = await run(ask(), small, FakePolicy(), broken, first_n=2, fallback="confidence")
    assert (selection.winners, selection.stopped) == ((1,), Stopped.UNJUDGED)
    assert "chosen_by_confidence" in selection.degraded


async def test_both_policies_share_the_deadline(ask: Ask) -> None:
    large = FakePolicy({1: Act(), 2: Act(tokens_so_far=4)})
    selection = await run(ask(), says("answer 1"), large, deadline_ms=400)
    assert (selection.winners, selection.stopped) == ((0,), Stopped.DEADLINE)
    assert selection.degraded == ("deadline",)
    assert [candidate.tokens for candidate in selection.candidates] == [3, 0, 4]
    assert large.aborted == {1, 2}
    with pytest.raises(DeadlineError):
        await run(ask(), FakePolicy({0: Act()}), large, deadline_ms=200)


async def test_a_failed_candidate_is_drawn_again_by_its_own_policy(ask: Ask) -> None:
    broken = PolicyFailedError("broken")
    small = FakePolicy({0: Act((broken, completion("answer 9")))})
    selection = await run(ask(), small, FakePolicy())
    assert (small.attempts[0], selection.winners, labels(selection)) == (2, (0,), ["small"])


def test_what_it_draws(ask: Ask) -> None:
    settings = CascadeSettings(type="cascade", first="small", first_n=2, threshold=1, n=6)
    strategy = settings.build(Referee())
    assert [strategy.drawn(request) for request in (ask(), ask(temperature=0))] == [8, 2]
    assert (settings.drawn, settings.asks) == (8, {"first": "small"})
    assert settings.lowered(5) == {"n": 3}
    assert settings.lowered(2) == {}
    with pytest.raises(ValidationError, match="threshold"):
        CascadeSettings(type="cascade", first="small")  # type: ignore[call-arg]
