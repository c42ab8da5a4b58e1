"""Pairwise judging over a scripted judge."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bon_gateway.backends.reward.judge.pairwise import PairwiseSettings
from bon_gateway.errors import AbstainedError, RewardError
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from tests.bon_gateway.backends.reward.judge.comparing import (
    better,
    compared,
    messages,
    texts,
    worth,
    writing,
)
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, judge, started
from tests.waiting import until

KNOCKOUT = {"type": "pairwise"}
PIVOT = {"type": "pairwise", "tournament": "pivot"}


def always_first(prompt: str) -> Chances:
    assert fenced(prompt)
    return {"A": 0.9, "B": 0.1}


@pytest.mark.parametrize("method", [KNOCKOUT, PIVOT])
async def test_the_best_wins_whatever_the_order(
    upstream: FakeUpstream, method: dict[str, Any]
) -> None:
    for shown in (texts(3, 1, 4, 2, 0), texts(0, 1, 2, 3, 4), texts(4, 3, 2, 1, 0)):
        scores = await compared(upstream, FakeJudge(better), shown, method=method)
        assert scores.missing is None
        rewards = [reward for reward in scores.rewards if reward is not None]
        assert len(rewards) == 5
        assert shown[rewards.index(max(rewards))] == "answer 4"
        assert rewards.count(max(rewards)) == 1
        assert all(0 <= reward <= 1 for reward in rewards)


async def test_a_knockout_takes_two_calls_for_each_match(upstream: FakeUpstream) -> None:
    fake = FakeJudge(better, cached=2)
    scores = await compared(upstream, fake, texts(*range(7)), method=KNOCKOUT)
    assert scores.judging is not None
    assert (scores.judging.calls, scores.judging.abstentions) == (12, 0)
    assert scores.judging.cached_tokens == 24
    asked = Counter(tuple(fenced(prompt)) for prompt in fake.prompts)
    assert set(asked.values()) == {1}
    assert all((second, first) in asked for first, second in asked)
    assert {call.body["max_tokens"] for call in upstream.calls} == {1}


async def test_the_same_answers_have_the_same_tournament(upstream: FakeUpstream) -> None:
    """In whatever order they arrive."""
    asked = []
    for shown in (texts(3, 1, 4, 2, 0), texts(0, 1, 2, 3, 4)):
        fake = FakeJudge(better)
        await compared(upstream, fake, shown, method=KNOCKOUT)
        asked.append(sorted(tuple(fenced(prompt)) for prompt in fake.prompts))
    assert asked[0] == asked[1]


@pytest.mark.parametrize("method", [KNOCKOUT, PIVOT])
@pytest.mark.parametrize("read", ["expectation", "text"])
async def test_a_judge_that_sees_only_the_place_makes_all_equal(
    upstream: FakeUpstream, method: dict[str, Any], read: str
) -> None:
    fake = FakeJudge(always_first) if read == "expectation" else writing(lambda _: "[[A]]")
    scores = await compared(upstream, fake, texts(1, 2, 3), method={**method, "read": read})
    assert scores.rewards == (0.5, 0.5, 0.5)
    assert scores.missing is None


async def test_one_order_leaves_the_place_its_say(upstream: FakeUpstream) -> None:
    method = {**KNOCKOUT, "both_orders": False}
    scores = await compared(upstream, FakeJudge(always_first), texts(1, 2, 3), method=method)
    assert sorted(reward for reward in scores.rewards if reward is not None) != [0.5, 0.5, 0.5]
    assert scores.judging is not None
    assert scores.judging.calls == 2
    scores = await compared(upstream, FakeJudge(better), texts(1, 3, 2), method=method)
    assert scores.rewards[1] == 1.0


def written(shown: Sequence[str]) -> str:
    first, second = map(worth, shown)
    verdict = "A" if first > second else "B" if second > first else "tie"
    return f"At first [[B]], but: [[{verdict}]]"


async def test_verdicts_that_are_written_need_no_log_probabilities(upstream: FakeUpstream) -> None:
    shown = texts(2, 4, 4, 1)
    fake = writing(written)
    scores = await compared(upstream, fake, shown, method={**PIVOT, "read": "text"})
    assert scores.rewards[1] == scores.rewards[2]
    assert sorted(range(4), key=lambda one: scores.rewards[one] or 0.0) == [3, 0, 1, 2]
    assert not [call for call in upstream.calls if "logprobs" in call.body]
    assert all("Explain your judgement" in prompt for prompt in fake.prompts)


async def test_a_judge_that_thinks_is_read_after_its_thinking(upstream: FakeUpstream) -> None:
    fake = FakeJudge(better, thinking="<think>A is short, [[A]] then</think>")
    scores = await compared(
        upstream,
        fake,
        texts(1, 3, 2),
        method=KNOCKOUT,
        thinking={"start": "<think>", "end": "</think>"},
        sampling={"max_tokens": 99},
    )
    assert scores.rewards[1] == 1.0


async def test_an_answer_that_is_never_judged_has_no_reward(upstream: FakeUpstream) -> None:
    def rule(prompt: str) -> Chances | None:
        return None if "answer 9" in fenced(prompt) else better(prompt)

    for method in (KNOCKOUT, PIVOT):
        scores = await compared(upstream, FakeJudge(rule), texts(1, 9, 3, 2), method=method)
        assert scores.rewards[1] is None
        assert scores.rewards[2] == 1.0
        assert None not in (scores.rewards[0], scores.rewards[3])
        assert isinstance(scores.missing, AbstainedError)
        assert scores.judging is not None
        assert scores.judging.abstentions > 0


@pytest.mark.parametrize("method", [KNOCKOUT, PIVOT])
async def test_a_judge_that_gives_no_verdict_chooses_nobody(
    upstream: FakeUpstream, method: dict[str, Any]
) -> None:
    scores = await compared(upstream, FakeJudge(lambda _: None), texts(1, 2, 3), method=method)
    assert scores.rewards == (None, None, None)
    assert isinstance(scores.missing, AbstainedError)


async def test_a_verdict_in_one_order_alone_is_none(upstream: FakeUpstream) -> None:
    def rule(prompt: str) -> Chances | None:
        return None if fenced(prompt)[0] == "answer 1" else better(prompt)

    scores = await compared(upstream, FakeJudge(rule), texts(1, 2), method=KNOCKOUT)
    assert scores.rewards == (None, None)


@pytest.mark.parametrize(("method", "players"), [(KNOCKOUT, 4), (PIVOT, 3)])
async def test_a_small_budget_lets_only_some_take_part(
    upstream: FakeUpstream, method: dict[str, Any], players: int
) -> None:
    scores = await compared(
        upstream, FakeJudge(better), texts(*range(8)), method=method, budget={"calls": 7}
    )
    known = [index for index, reward in enumerate(scores.rewards) if reward is not None]
    assert len(known) == players
    assert scores.rewards[known[-1]] == 1.0
    assert scores.judging is not None
    assert scores.judging.calls == 6
    assert scores.missing is not None


async def test_repeats_ask_again_with_another_seed(upstream: FakeUpstream) -> None:
    scores = await compared(
        upstream,
        FakeJudge(better),
        texts(1, 2),
        method={**KNOCKOUT, "repeats": 2},
        sampling={"seed": 5, "temperature": 0.7},
    )
    assert scores.rewards == (0.0, 1.0)
    seeds = Counter(call.body["seed"] for call in upstream.calls)
    assert seeds == {5: 2, 6: 2, 7: 2}


def _runs(upstream: FakeUpstream, calls: int) -> bool:
    return upstream.running == calls


async def test_one_call_leads_all_rounds(upstream: FakeUpstream) -> None:
    fake = FakeJudge(better)
    gates = [asyncio.Event() for _ in range(3)]
    """Of the leading call, of the rest of the first round, and of the final."""
    upstream.script = fake
    backend = judge(upstream, method=KNOCKOUT, lead=True)
    async with started(backend):
        after_warm_up(
            upstream,
            lambda call: replace(fake(call), hold=gates[(call.ordinal > 0) + (call.ordinal > 3)]),
        )
        call = asyncio.create_task(
            backend.score(RewardRequest(MESSAGES), messages(texts(1, 2, 3, 4)))
        )
        for gate, running in zip(gates, (1, 3, 2), strict=True):
            await until(partial(_runs, upstream, running))
            gate.set()
        await call


async def test_a_single_answer_is_not_asked_about(upstream: FakeUpstream) -> None:
    scores = await compared(upstream, FakeJudge(better), texts(1), method=KNOCKOUT)
    assert scores.rewards == (0.5,)
    assert upstream.calls == []


async def test_a_judge_that_fails_raises(upstream: FakeUpstream) -> None:
    fake = FakeJudge(lambda _: Step(status=500))
    upstream.script = FakeJudge(better)
    backend = judge(upstream, method=KNOCKOUT)
    async with started(backend):
        after_warm_up(upstream, fake)
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), messages(texts(1, 2)))


async def test_who_leaves_cancels_all_calls(upstream: FakeUpstream) -> None:
    upstream.script = FakeJudge(better)
    backend = judge(upstream, method=KNOCKOUT)
    async with started(backend):
        after_warm_up(upstream, FakeJudge(lambda _: Step(hold=asyncio.Event())))
        call = asyncio.create_task(
            backend.score(RewardRequest(MESSAGES), messages(texts(1, 2, 3, 4)))
        )
        await until(lambda: upstream.running == 4)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await until(lambda: upstream.running == 0)
        assert upstream.requests == 4


def test_finalists_belong_to_a_pivot() -> None:
    with pytest.raises(ValueError, match="finalists: only tournament: pivot has any"):
        PairwiseSettings(type="pairwise", finalists=3)
    assert PairwiseSettings(type="pairwise").compares


@pytest.mark.parametrize(
    ("method", "strategy", "refused"),
    [
        ("pairwise", {"type": "good_enough", "threshold": 0.9}, True),
        ("listwise", {"type": "adaptive"}, True),
        ("pairwise", {"type": "best_of_n"}, False),
        ("pointwise", {"type": "good_enough", "threshold": 0.9}, False),
    ],
)
def test_places_are_no_rewards_for_a_threshold(
    method: str, strategy: dict[str, Any], refused: bool
) -> None:
    tree = {
        "policies": {"qwen": {"type": "vllm", "urls": ["http://policy:8000"]}},
        "rewards": {
            "chat": {"type": "judge", "urls": ["http://judge:8000"], "method": {"type": method}}
        },
        "models": {"best": {"policy": "qwen", "reward": "chat", "strategy": strategy}},
    }
    if not refused:
        Settings.model_validate(tree)
        return
    with pytest.raises(ValueError, match=r"models\.best\.strategy: .* 'chat' only compares"):
        Settings.model_validate(tree)
