"""Rewards that join others: how, and on which scale."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.backends.reward.ensemble.backend import RewardEnsemble
from bon_gateway.backends.reward.ensemble.settings import RewardEnsembleSettings
from bon_gateway.errors import AbstainedError, NoRewardError, RewardError, RewardRefusedError
from bon_gateway.judging import JudgeUsage
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
        ({"combine": "mean_minus_sd", "penalty": 0.5}, (0.0, 1.5)),
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
    # A later request knows all earlier rewards.
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
    assert len(joint._quorums) == 1
    del request
    gc.collect()
    assert gone() is None
    assert len(joint._quorums) == 0


async def test_members_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Meeting(FakeReward):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            await both.wait()
            return Scores((1.0,) * len(completions), 1)

    async with asyncio.timeout(20):
        joint = ensemble({"a": Meeting(), "b": Meeting()})
        assert (await joint.score(RewardRequest([]), answers("x"))).rewards == (1.0,)


async def test_a_member_that_is_down_is_left_out_for_the_whole_request() -> None:
    """It fails twice, for the first answers. It answers again later, but not for this request."""
    rewards = {"up": FakeReward(), "down": FakeReward(failures=2)}
    joint, request = ensemble(rewards), RewardRequest([])
    for answer, expected in [("7", 7.0), ("5", 5.0)]:
        scores = await joint.score(request, answers(answer))
        assert (scores.rewards, scores.left_out) == ((expected,), ["down"])
        assert scores.members == [{"up": expected}]
    assert len(rewards["down"].calls) == 2
    other = await joint.score(RewardRequest([]), answers("7"))
    assert (other.members, other.left_out) == ([{"up": 7.0, "down": 7.0}], [])


async def test_a_member_that_fails_once_is_asked_again() -> None:
    rewards = {"up": FakeReward(), "down": FakeReward(failures=1)}
    scores = await ensemble(rewards).score(RewardRequest([]), answers("7"))
    assert (scores.members, scores.left_out) == ([{"up": 7.0, "down": 7.0}], [])
    assert [len(fake.calls) for fake in rewards.values()] == [1, 2]


@dataclass(slots=True)
class Failing(FakeReward):
    """Fails with ``error`` while ``broken``."""

    error: RewardError = field(default_factory=lambda: NoRewardError("none is up"))
    broken: bool = True

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        self.calls.append([*completions])
        if self.broken:
            raise self.error
        return Scores(tuple(self.rule(one) for one in completions), 1)


async def test_a_member_that_fails_later_costs_the_rewards_of_those_answers() -> None:
    failing = Failing(broken=False)
    joint, request = ensemble({"up": FakeReward(), "down": failing}), RewardRequest([])
    assert (await joint.score(request, answers("7"))).rewards == (7.0,)
    failing.broken = True
    scores = await joint.score(request, answers("5", "6"))
    assert (scores.rewards, scores.missing) == ((None, None), failing.error)
    assert (scores.members, scores.left_out) == ([{"up": 5.0}, {"up": 6.0}], [])
    failing.broken = False
    assert (await joint.score(request, answers("5"))).rewards == (5.0,)


async def test_what_cannot_pass_is_not_asked_again() -> None:
    failing = Failing()
    scores = await ensemble({"up": FakeReward(), "down": failing}).score(
        RewardRequest([]), answers("7")
    )
    assert (scores.left_out, len(failing.calls)) == (["down"], 1)


async def test_where_all_fail_the_error_that_may_pass_is_raised() -> None:
    rewards = {"gone": Failing(), "busy": Failing(error=RewardError("busy"))}
    with pytest.raises(RewardError, match="busy"):
        await ensemble(rewards).score(RewardRequest([]), answers("7"))
    rewards["gone"].broken = rewards["busy"].broken = False
    joint, request = ensemble(rewards), RewardRequest([])
    assert (await joint.score(request, answers("7"))).rewards == (7.0,)
    rewards["gone"].broken = rewards["busy"].broken = True
    with pytest.raises(RewardError, match="busy"):
        await joint.score(request, answers("7"))


async def test_a_conversation_that_one_cannot_read_is_scored_by_the_others() -> None:
    refusing = Failing(error=RewardRefusedError("too long"))
    scores = await ensemble({"a": FakeReward(), "b": refusing}).score(
        RewardRequest([]), answers("7")
    )
    assert (scores.rewards, scores.left_out, len(refusing.calls)) == ((7.0,), ["b"], 1)


async def test_with_fail_one_member_that_is_down_costs_all_rewards() -> None:
    rewards = {"up": FakeReward(), "down": FakeReward(failures=1)}
    joint, request = ensemble(rewards, on_missing="fail"), RewardRequest([])
    with pytest.raises(RewardError, match="told to fail"):
        await joint.score(request, answers("7"))
    assert len(rewards["down"].calls) == 1
    assert (await joint.score(request, answers("7"))).rewards == (7.0,)


@dataclass(slots=True)
class Abstaining(FakeReward):
    """A judge without a verdict on an answer that says no."""

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        given = [None if one["content"] == "no" else 3.0 for one in completions]
        judging = JudgeUsage(calls=len(given), abstentions=given.count(None))
        return Scores(tuple(given), 0, AbstainedError("no verdict"), judging=judging)


async def test_a_judge_without_any_verdict_is_left_out() -> None:
    joint = ensemble({"a": FakeReward(), "judge": Abstaining()})
    scores = await joint.score(RewardRequest([]), answers("no", "no"))
    assert (scores.rewards, scores.left_out, scores.missing) == ((0.0, 0.0), ["judge"], None)
    assert scores.judging == JudgeUsage(calls=2, abstentions=2)
    scores = await joint.score(RewardRequest([]), answers("no", "3"))
    assert (scores.rewards, scores.left_out) == ((None, 3.0), [])
    assert isinstance(scores.missing, AbstainedError)


async def test_calls_side_by_side_have_one_quorum() -> None:
    """Each of two first calls loses another member. The call that ends first decides."""
    late = asyncio.Event()

    class Fickle(FakeReward):
        """Fails for one answer. Asked for the other, it waits."""

        def __init__(self, bad: str) -> None:
            super().__init__()
            self.bad = bad

        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            if completions[0]["content"] == "2":
                await late.wait()
            if completions[0]["content"] == self.bad:
                raise NoRewardError("down")
            return Scores((1.0,), 1)

    joint, request = ensemble({"a": Fickle("1"), "b": Fickle("2")}), RewardRequest([])
    second = asyncio.create_task(joint.score(request, answers("2")))
    await asyncio.sleep(0)
    first = await joint.score(request, answers("1"))
    assert (first.rewards, first.left_out) == ((1.0,), ["a"])
    late.set()
    with pytest.raises(NoRewardError):
        await second  # b alone counts, and b has failed


@dataclass(slots=True)
class Labelled(FakeReward):
    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        self.calls.append([*completions])
        read = [[float(word) for word in one["content"].split()] for one in completions]
        labels = [{"true": row[0], "kind": row[1]} for row in read]
        return Scores(tuple(sum(row) for row in read), 5 * len(read), labels=labels)


async def test_labels_of_one_model_are_members() -> None:
    model = Labelled()
    described = [
        {"reward": "m", "label": "kind", "weight": 3, **FIXED},
        {"reward": "m", "label": "true", **FIXED},
        {"reward": "m", **FIXED},
    ]
    settings = {"type": "ensemble", "members": described}
    joint = RewardEnsembleSettings.model_validate(settings).compose({"m": model})
    scores = await joint.score(RewardRequest([]), answers("1 3", "0 0"))
    assert scores.rewards == pytest.approx(((3 * 3 + 1 + 4) / 5, 0.0))
    assert scores.members is not None
    assert scores.members[0] == {"m.kind": 3.0, "m.true": 1.0, "m": 4.0}
    assert (scores.tokens, len(model.calls)) == (10, 1)


async def test_the_first_answer_may_lack_the_labels() -> None:
    class Partly(Labelled):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            scores = await Labelled.score(self, request, completions[1:])
            return Scores(
                (None, *scores.rewards),
                1,
                RewardRefusedError("too long"),
                labels=[{}, *(scores.labels or ())],
            )

    described = [{"reward": "m", "label": "kind", **FIXED}]
    settings = {"type": "ensemble", "members": described}
    joint = RewardEnsembleSettings.model_validate(settings).compose({"m": Partly()})
    scores = await joint.score(RewardRequest([]), answers("9 9", "1 3"))
    assert (scores.rewards, scores.left_out) == ((None, 3.0), [])


@pytest.mark.parametrize(
    ("model", "told"), [(Labelled(), "it has true, kind"), (FakeReward(), "it has none")]
)
async def test_a_label_that_does_not_exist(model: FakeReward, told: str) -> None:
    described = [{"reward": "m", "label": "nice", **FIXED}, {"reward": "other", **FIXED}]
    rewards = {"m": model, "other": FakeReward(rule=lambda _: 2.0)}
    settings = {"type": "ensemble", "members": described}
    joint = RewardEnsembleSettings.model_validate(settings).compose(rewards)
    scores = await joint.score(RewardRequest([]), answers("1 3"))
    assert (scores.rewards, scores.left_out) == ((2.0,), ["m.nice"])
    strict = RewardEnsembleSettings.model_validate({**settings, "on_missing": "fail"})
    with pytest.raises(RewardError, match=f"reward 'm' has no label 'nice'; {told}"):
        await strict.compose(rewards).score(RewardRequest([]), answers("1 3"))


async def test_the_first_decides_and_the_next_between_equals() -> None:
    joint = ensemble(members(3), combine="lexicographic", tolerance=0.5)
    said = ("1.1 0 0", "1.4 2 0", "1.3 2 1", "0.9 8 8")
    scores = await joint.score(RewardRequest([]), answers(*said))
    places = sorted(range(4), key=lambda place: -(scores.rewards[place] or 0.0))
    assert places == [2, 1, 0, 3]


class Refusing(FakeReward):
    """Refuses answers that say no, or the whole call."""

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


def test_it_is_ready_if_a_member_is_that_may_stand_alone() -> None:
    joint = ensemble({"a": FakeReward(), "b": FakeReward(is_ready=False)})
    assert joint.ready()
    strict = ensemble({"a": FakeReward(), "b": FakeReward(is_ready=False)}, on_missing="fail")
    assert not strict.ready()
    assert not ensemble({"b": FakeReward(is_ready=False)}).ready()
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
        ({"members": []}, "at least 1 item"),
        (
            {"members": [{"reward": "a.b"}, {"reward": "a", "label": "b"}]},
            "'a.b' is there twice",
        ),
        ({"members": [{"reward": "a"}, {"reward": "a"}]}, "'a' is there twice"),
        ({"members": [{"reward": "a", "mean": 1}, {"reward": "b"}]}, "mean and std belong"),
        ({"members": [{"reward": "a", "std": 0, "mean": 0}, {"reward": "b"}]}, "greater than 0"),
        ({"members": [{"reward": "a", "weight": 0}, {"reward": "b"}]}, "greater than 0"),
        (
            {"members": [{"reward": "a", "weight": 2}, {"reward": "b"}], "combine": "min"},
            "a weight has no meaning",
        ),
        (
            {"members": [{"reward": "a", "weight": 2}], "combine": "lexicographic"},
            "a weight has no meaning with combine: lexicographic",
        ),
        (
            {
                "members": [{"reward": name} for name in "abcdef"],
                "combine": "lexicographic",
                "tolerance": 0.001,
            },
            "tolerance: with 0.001 the order of 3 rewards can be told, and members has 6",
        ),
    ],
)
def test_settings_that_mean_nothing(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RewardEnsembleSettings.model_validate({"type": "ensemble", **keys})
