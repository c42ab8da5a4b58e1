"""Rewards made of others: how they are joined, and on which scale."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.backends.reward.ensemble import RewardEnsemble, RewardEnsembleSettings
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.testing.fakes import FakeReward
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores

FIXED = {"mean": 0.0, "std": 1.0}


def answers(*texts: str) -> list[Message]:
    return [{"role": "assistant", "content": text} for text in texts]


def numbers(place: int) -> Callable[[Message], float]:
    """The reward of an answer such as ``3 -1`` is one of its numbers."""
    return lambda message: float(message["content"].split()[place])


def members(count: int = 2) -> dict[str, FakeReward]:
    return {f"m{place}": FakeReward(rule=numbers(place)) for place in range(count)}


def ensemble(
    rewards: dict[str, Any], each: dict[str, Any] | Sequence[dict[str, Any]] = FIXED, **keys: Any
) -> RewardEnsemble:
    own = [each] * len(rewards) if isinstance(each, dict) else each
    described = [{"reward": name, **one} for name, one in zip(rewards, own, strict=True)]
    settings = {"type": "ensemble", "members": described, **keys}
    return RewardEnsembleSettings.model_validate(settings).compose(rewards)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (1.0, 1.5)),
        ({"combine": "min"}, (-1.0, 1.5)),
        # The variance of 3 and -1 is 4.
        ({"combine": "mean_minus_variance", "penalty": 0.5}, (-1.0, 1.5)),
    ],
)
async def test_closed_values(keys: dict[str, Any], expected: tuple[float, float]) -> None:
    rewards = members()
    joint = ensemble(rewards, **keys)
    scores = await joint.score(RewardRequest([]), answers("3 -1", "1.5 1.5"))
    assert scores.rewards == pytest.approx(expected, abs=1e-9)
    assert scores.members == [{"m0": 3.0, "m1": -1.0}, {"m0": 1.5, "m1": 1.5}]
    assert scores.tokens == 40
    assert all(len(fake.calls) == 1 for fake in rewards.values())


async def test_dimensions_have_weights_and_scales() -> None:
    """z: (5 - 1) / 2 = 2 and (10 - 40) / 10 = -3, so (3 x 2 - 3) / 4."""
    each = [{"mean": 1, "std": 2, "weight": 3}, {"mean": 40, "std": 10}]
    scores = await ensemble(members(), each).score(RewardRequest([]), answers("5 10"))
    assert scores.rewards == pytest.approx((0.75,), abs=1e-9)


async def test_scales_are_learnt_from_the_rewards() -> None:
    """A member whose unit is a thousand times the other's has no more say."""
    joint = ensemble(members(), {})
    scores = await joint.score(RewardRequest([]), answers("1 -2000", "3 2000", "2 0"))
    z = math.sqrt(1.5)
    assert scores.rewards == pytest.approx((-z, z, 0.0), abs=1e-9)


async def test_all_candidates_of_a_request_have_one_scale() -> None:
    joint = ensemble(members(), {})
    request = RewardRequest([])
    first = await joint.score(request, answers("0 0", "2 20"))
    assert first.rewards == pytest.approx((-1.0, 1.0), abs=1e-9)
    other = await joint.score(RewardRequest([]), answers("1000 0", "-1000 5"))
    again = await joint.score(request, answers("0 0", "2 20", "3 30"))
    assert again.rewards == pytest.approx((-1.0, 1.0, 2.0), abs=1e-9)
    # A later request knows all that came before.
    later = await joint.score(RewardRequest([]), answers("0 0", "2 20"))
    assert later.rewards[1] - later.rewards[0] < 1.5  # type: ignore[operator]
    assert other.rewards != again.rewards


async def test_beginnings_of_answers_do_not_change_the_scale() -> None:
    joint = ensemble(members(), {})
    await joint.score(RewardRequest([]), answers("0 0", "2 20"))
    beginnings = RewardRequest([], partial=True)
    found = await joint.score(beginnings, answers("1000 0", "1 10", "2 20"))
    assert found.rewards[1:] == pytest.approx((0.0, 1.0), abs=1e-9)
    later = await joint.score(RewardRequest([]), answers("0 0", "2 20"))
    assert later.rewards == pytest.approx((-1.0, 1.0), abs=1e-9)


async def test_what_is_kept_for_a_request_goes_with_it() -> None:
    joint = ensemble(members(), {})
    request = RewardRequest([])
    await joint.score(request, answers("0 0", "2 20"))
    gone = weakref.ref(request)
    assert len(joint._spreads) == 1
    del request
    gc.collect()
    assert gone() is None
    assert len(joint._spreads) == 0


async def test_members_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Meeting(FakeReward):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            await both.wait()
            return Scores((1.0,) * len(completions), 1)

    async with asyncio.timeout(20):
        joint = ensemble({"a": Meeting(), "b": Meeting()})
        assert (await joint.score(RewardRequest([]), answers("x"))).rewards == (1.0,)


async def test_one_member_that_is_down_costs_all_rewards() -> None:
    rewards = {"up": FakeReward(), "down": FakeReward(failures=1)}
    joint = ensemble(rewards)
    with pytest.raises(RewardError, match="told to fail"):
        await joint.score(RewardRequest([]), answers("x"))
    assert (await joint.score(RewardRequest([]), answers("x"))).rewards == (0.0,)


class Refusing(FakeReward):
    """Refuses whatever says no, or the whole call."""

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if request.messages:
            raise RewardRefusedError("unreadable", answer=1)
        given = [None if m["content"] == "no" else 3.0 for m in completions]
        return Scores(tuple(given), 1, RewardRefusedError("too long"))


async def test_a_refusal_passes_on() -> None:
    joint = ensemble({"a": FakeReward(rule=lambda _: 1.0), "b": Refusing()}, {})
    scores = await joint.score(RewardRequest([]), answers("no"))
    assert (scores.rewards, scores.members) == ((None,), [{"a": 1.0}])
    scores = await joint.score(RewardRequest([]), answers("no", "yes"))
    assert scores.rewards == (None, 0.0)
    assert scores.missing is not None
    with pytest.raises(RewardRefusedError) as caught:
        await joint.score(RewardRequest([{"role": "user"}]), answers("yes", "no"))
    assert caught.value.answer == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("send", "send"), "send"),
        (("send", "placeholder"), "placeholder"),
        (("leave_out", "placeholder"), "leave_out"),
        (("send", "leave_out", "refuse"), "refuse"),
    ],
)
def test_the_strictest_says_what_happens_to_parts(
    parts: tuple[NonTextParts, ...], expected: str
) -> None:
    rewards = {f"m{i}": FakeReward(non_text_parts=one) for i, one in enumerate(parts)}
    assert ensemble(rewards).non_text_parts == expected


async def test_an_announcement_goes_to_those_that_use_it() -> None:
    rewards = {"a": FakeReward(announces=True), "b": FakeReward(), "c": FakeReward(announces=True)}
    joint = ensemble(rewards)
    task = asyncio.create_task(joint.announce(RewardRequest([{"role": "user"}])))
    while not (rewards["a"].announced and rewards["c"].announced):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (joint.announces, rewards["b"].announced) == (True, [])
    assert rewards["a"].withdrawn == rewards["c"].withdrawn == 1
    assert not ensemble(members()).announces


def test_it_is_as_ready_as_all_of_its_members() -> None:
    joint = ensemble({"a": FakeReward(), "b": FakeReward(is_ready=False)})
    assert not joint.ready()
    assert joint.health() == {"a.fake": "up", "b.fake": "ejected"}
    assert joint.troubles() == {"b.fake": "It was told to be down."}
    assert ensemble(members()).ready()


async def test_over_others_it_keeps_what_it_learnt_of_those_that_stay() -> None:
    rewards = members()
    joint = ensemble(rewards, {})
    assert joint.over(dict(rewards)) is joint
    await joint.score(RewardRequest([]), answers("0 0", "20 20"))
    new = {**rewards, "m1": FakeReward(rule=numbers(1))}
    moved = joint.over(new)
    scores = await moved.score(RewardRequest([]), answers("20 7"))
    # Of the first it knows 0, 20 and 20; the second has said only 7, which is its mean.
    z = (20 - 40 / 3) / math.sqrt(800 / 9)
    assert scores.rewards == pytest.approx((z / 2,), abs=1e-9)
    assert (len(new["m1"].calls), len(rewards["m1"].calls)) == (1, 1)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"members": [{"reward": "a"}]}, "at least 2 items"),
        ({"members": [{"reward": "a"}, {"reward": "a"}]}, "'a' is there twice"),
        ({"members": [{"reward": "a", "mean": 1}, {"reward": "b"}]}, "mean and std belong"),
        ({"members": [{"reward": "a", "std": 0, "mean": 0}, {"reward": "b"}]}, "greater than 0"),
        ({"members": [{"reward": "a", "weight": 0}, {"reward": "b"}]}, "greater than 0"),
        (
            {"members": [{"reward": "a", "weight": 2}, {"reward": "b"}], "combine": "min"},
            "a weight has no meaning",
        ),
    ],
)
def test_settings_that_mean_nothing(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RewardEnsembleSettings.model_validate({"type": "ensemble", **keys})
