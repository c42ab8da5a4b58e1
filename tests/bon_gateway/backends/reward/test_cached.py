from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
from pydantic import ValidationError

from bon_gateway.backends.cache.settings import RewardCacheSettings
from bon_gateway.backends.reward.cached import CachedReward
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend
from bon_gateway.testing.fakes import FakeReward
from bon_gateway.types import Message, RewardRequest, Scores

ASK = [{"role": "user", "content": "q"}]


class Counting(FakeReward):
    """Rewards are lengths. It keeps the texts that each call brought."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.fields = fields

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        texts = [str(one["content"]) for one in completions]
        self.asked.append(texts)
        rewards = [float(len(text)) if text else None for text in texts]
        return Scores(
            tuple(rewards),
            10 * len(texts),
            None if all(texts) else RewardError("no text"),
            **{name: of(texts) if callable(of) else of for name, of in self.fields.items()},
        )


class Kept:
    def __init__(self, backend: FakeReward, **settings: Any) -> None:
        self.metrics = Metrics()
        meter = self.metrics.cache_meter("rewards.r")
        self.reward = CachedReward(backend, RewardCacheSettings(**settings), meter)

    async def score(self, *texts: str, request: RewardRequest | None = None) -> Scores:
        answers = [{"role": "assistant", "content": text} for text in texts]
        return await self.reward.score(request or RewardRequest(ASK), answers)

    def count(self, outcome: str) -> float:
        labels = {"cache": "rewards.r", "outcome": outcome}
        return self.metrics.registry.get_sample_value("bon_cache_lookups_total", labels) or 0.0


async def test_what_a_request_expects_counts_where_it_is_read() -> None:
    for by_metadata in (False, True):
        backend = Counting()
        meter = Metrics().cache_meter("rewards.r")
        settings = RewardCacheSettings()
        reward = CachedReward(backend, settings, meter, by_metadata=by_metadata)
        for expected in ("1", "2", "1"):
            request = RewardRequest(ASK, metadata={"reference": expected})
            await reward.score(request, [{"role": "assistant", "content": "a"}])
        assert len(backend.asked) == (2 if by_metadata else 1)


async def test_ids_of_tool_calls_count_where_they_are_read() -> None:
    def called(name: str, city: str = "Paris") -> dict[str, Any]:
        call = {"id": name, "function": {"name": "look_up", "arguments": city}}
        return {"role": "assistant", "content": "a", "tool_calls": [call]}

    for by_call_ids in (False, True):
        backend = Counting()
        meter = Metrics().cache_meter("rewards.r")
        reward = CachedReward(backend, RewardCacheSettings(), meter, by_call_ids=by_call_ids)
        for answer in (called("1"), called("2"), called("1"), called("1", "Lyon")):
            await reward.score(RewardRequest(ASK), [answer])
        assert len(backend.asked) == (3 if by_call_ids else 2)


async def test_an_answer_is_scored_once() -> None:
    backend = Counting()
    kept = Kept(backend)
    first = await kept.score("a", "bbb")
    assert (first.rewards, first.tokens) == ((1.0, 3.0), 20)
    second = await kept.score("bbb", "cc", "a")
    assert (second.rewards, second.tokens) == ((3.0, 2.0, 1.0), 10)
    third = await kept.score("cc", "a")
    assert (third.rewards, third.tokens) == ((2.0, 1.0), 0)
    assert backend.asked == [["a", "bbb"], ["cc"]]
    assert (kept.count("hit"), kept.count("miss")) == (4, 3)


@pytest.mark.parametrize(
    "other",
    [
        RewardRequest([{"role": "user", "content": "another"}]),
        RewardRequest([*ASK, {"role": "user", "content": "more"}]),
        RewardRequest(ASK, tools=[{"type": "function", "function": {"name": "f"}}]),
        RewardRequest(ASK, partial=True),
    ],
)
async def test_another_conversation_has_rewards_of_its_own(other: RewardRequest) -> None:
    backend = Counting()
    kept = Kept(backend)
    await kept.score("a")
    await kept.score("a", request=other)
    assert backend.asked == [["a"], ["a"]]
    await kept.score("a", request=other)
    assert len(backend.asked) == 2


async def test_all_of_an_answer_counts() -> None:
    backend = Counting()
    reward = Kept(backend).reward
    answer = {"role": "assistant", "content": "a"}
    await reward.score(RewardRequest(ASK), [answer])
    await reward.score(RewardRequest(ASK), [answer | {"tool_calls": []}])
    assert len(backend.asked) == 2


async def test_a_missing_reward_is_asked_for_again() -> None:
    backend = Counting()
    kept = Kept(backend)
    first = await kept.score("", "a")
    assert first.rewards == (None, 1.0)
    again = await kept.score("", "a")
    assert again.rewards == (None, 1.0)
    assert again.missing is not None
    assert backend.asked == [["", "a"], [""]]


async def test_an_error_is_not_kept() -> None:
    kept = Kept(FakeReward(failures=1))
    with pytest.raises(RewardError):
        await kept.score("a")
    assert (await kept.score("a")).rewards[0] is not None


async def test_a_refusal_names_the_answer_in_the_callers_order() -> None:
    class Refusing(Counting):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            if len(completions) > 1:
                raise RewardRefusedError("too long", answer=1)
            return await super().score(request, completions)

    kept = Kept(Refusing())
    await kept.score("a")
    with pytest.raises(RewardRefusedError) as caught:
        await kept.score("b", "a", "c")
    assert caught.value.answer == 2


async def test_what_belongs_to_an_answer_is_kept_with_its_reward() -> None:
    backend = Counting(
        members=lambda texts: [{"m": float(len(text))} for text in texts],
        labels=lambda texts: [{"l": 1.0} for _ in texts],
        read=lambda texts: [len(text) for text in texts],
        truncated=lambda texts: [False for _ in texts],
        judging=JudgeUsage(calls=1),
    )
    kept = Kept(backend)
    await kept.score("a")
    both = await kept.score("bb", "a")
    assert both.members == [{"m": 2.0}, {"m": 1.0}]
    assert both.labels == [{"l": 1.0}, {"l": 1.0}]
    assert (both.read, both.truncated) == ([2, 1], [False, False])
    assert both.judging == JudgeUsage(calls=1)
    nothing_new = await kept.score("a", "bb")
    assert (nothing_new.rewards, nothing_new.read) == ((1.0, 2.0), [1, 2])
    assert (nothing_new.judging, nothing_new.tokens) == (None, 0)


async def test_rewards_without_some_members_are_not_kept() -> None:
    backend = Counting(left_out=["m"])
    kept = Kept(backend)
    assert list((await kept.score("a")).left_out) == ["m"]
    await kept.score("a")
    assert len(backend.asked) == 2


async def test_no_more_are_kept_than_are_allowed() -> None:
    backend = Counting()
    kept = Kept(backend, entries=2)
    await kept.score("a", "b", "c")
    await kept.score("c", "b")
    assert len(backend.asked) == 1
    await kept.score("a")
    assert backend.asked[1:] == [["a"]]
    dropped = kept.metrics.registry.get_sample_value(
        "bon_cache_dropped_total", {"cache": "rewards.r"}
    )
    assert dropped == 2


async def test_a_request_that_has_ended_is_forgotten() -> None:
    kept = Kept(Counting())
    await kept.score("a")
    gc.collect()
    assert len(kept.reward._conversations) == 0


async def test_no_text_is_kept() -> None:
    kept = Kept(Counting())
    await kept.score("a long secret text")
    (value, _, _) = next(iter(kept.reward._store._held.values()))
    assert "secret" not in repr((value, msgspec.structs.asdict(value), kept.reward._store._held))


@pytest.mark.parametrize("texts", [(), ("a",)])
async def test_nothing_to_score_goes_through(texts: tuple[str, ...]) -> None:
    kept = Kept(Counting())
    assert len((await kept.score(*texts)).rewards) == len(texts)


class ComparingSettings(RewardSettings):
    type: Literal["comparing"] = "comparing"

    @property
    def compares(self) -> bool:
        return True

    def build(self, key: str | None) -> RewardBackend:
        raise NotImplementedError


def test_rewards_that_compare_answers_cannot_be_kept() -> None:
    with pytest.raises(ValidationError, match="cache: these rewards compare"):
        ComparingSettings(cache=RewardCacheSettings())
    assert ComparingSettings().cache is None
