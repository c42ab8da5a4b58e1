from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.scoring import hook_scorer
from bon_gateway.compare.settings import HookSettings
from bon_gateway.testing.script import Call, Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import GOLD, compare, settings_of


def arms(base: FakeUpstream, other: FakeUpstream) -> dict[str, Any]:
    return {
        "base": {"url": base.url, "model": "fake"},
        "other": {"url": other.url, "model": "fake"},
    }


async def test_a_reward_server_scores_what_was_answered(tmp_path: Path) -> None:
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream() as reward,
    ):
        quality = {"scorers": {"held-out": {"url": reward.url}}, "primary": "held-out"}
        settings = settings_of(tmp_path, arms(base, other), prompts=4, quality=quality)
        results = await compare(settings)
        asked = reward.requests
        assert asked == 8
        assert {call.path for call in reward.calls} == {"/v1/score"}
        again = await compare(settings)
        assert reward.requests == asked
    for found in (results, again):
        means = [arm.quality["held-out"] for arm in found.arms]
        assert [mean and mean.value for mean in means] == pytest.approx(
            [fake_reward("one"), fake_reward("two")], abs=1e-9
        )


@pytest.mark.parametrize(
    ("reply", "rate"),
    [
        # It says which of the two is there as A; texts are told apart by it.
        (lambda first: "[[A]]" if first == "two" else "[[B]]", 1.0),
        (lambda first: "Better. [[A]]", 0.5),
        (lambda first: "[[tie]]", 0.5),
        (lambda first: "[[B]]" if first == "two" else "[[A]]", 0.0),
    ],
)
async def test_a_judge_is_asked_in_both_orders(tmp_path: Path, reply: Any, rate: float) -> None:
    def judge(call: Call) -> Step:
        said = call.body["messages"][0]["content"]
        found = re.search(r"# Answer A\n(\w+)", said)
        assert found is not None
        return Step(text=reply(found.group(1)))

    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(judge) as judging,
    ):
        quality = {"judge": {"url": judging.url, "model": "fake"}}
        results = await compare(
            settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        )
        assert judging.requests == 3 * 2
    base_arm, other_arm = results.arms
    assert base_arm.judged is None
    assert other_arm.judged is not None
    assert other_arm.judged.value == rate


async def test_a_judge_that_says_nothing_is_counted(tmp_path: Path) -> None:
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(lambda call: Step(text="neither, really")) as judging,
    ):
        quality = {"judge": {"url": judging.url, "model": "fake"}}
        results = await compare(
            settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        )
    assert results.arms[1].judged is None
    assert "3 scores of judge failed and are missing." in results.warnings


async def test_equal_answers_tie_without_asking(tmp_path: Path) -> None:
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as base, FakeUpstream() as judging:
        quality = {"judge": {"url": judging.url, "model": "fake"}}
        results = await compare(settings_of(tmp_path, arms(base, base), prompts=3, quality=quality))
        assert judging.requests == 0
    assert results.arms[1].judged is not None
    assert results.arms[1].judged.value == 0.5


@pytest.mark.parametrize("function", ["no.such.module:f", "math:nothing"])
def test_a_hook_that_is_not_there(function: str) -> None:
    with pytest.raises(SettingsError, match=f"settings: key: {function}"):
        hook_scorer(HookSettings(function=function), "key")


async def test_a_hook_may_return_an_object() -> None:
    score = hook_scorer(HookSettings(function="fractions:Fraction", field="denominator"), "key")
    assert await score(3, 4) == 4.0  # type: ignore[arg-type]


async def test_a_hook_that_raises_is_counted(tmp_path: Path) -> None:
    """The fake upstream's words are no numbers, which the hook wants."""
    async with FakeUpstream() as base:
        quality = {"scorers": {"number": GOLD}}
        settings = settings_of(tmp_path, arms(base, base), prompts=3, quality=quality)
        results = await compare(settings)
    assert results.arms[0].quality["number"] is None
    assert any("scores of number failed" in warning for warning in results.warnings)
