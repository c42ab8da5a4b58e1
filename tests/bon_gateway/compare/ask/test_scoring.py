from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.ask.scoring import hook_scorer
from bon_gateway.compare.settings import HookSettings, QualitySettings
from bon_gateway.testing.judges import FakeJudge, fenced
from bon_gateway.testing.script import Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import GOLD, compare, measure, settings_of


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


def written(url: str) -> dict[str, Any]:
    return {"judge": {"type": "judge", "urls": [url], "method": WRITTEN}}


WRITTEN = {"type": "pairwise", "read": "text"}


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
    judging = FakeJudge(lambda prompt: {reply(fenced(prompt)[0]): 1.0}, logprobs=False)
    told = io.StringIO()
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(judging) as judge,
    ):
        settings = settings_of(tmp_path, arms(base, other), prompts=3, quality=written(judge.url))
        await measure(settings, progress=Progress(told))
        results = await compare(settings)
    asked = sorted(tuple(fenced(prompt)) for prompt in judging.prompts if fenced(prompt))
    assert asked == [("one", "two")] * 3 + [("two", "one")] * 3
    assert "scored by judge: 6 answers, 6 questions to a judge" in told.getvalue()
    base_arm, other_arm = results.arms
    assert base_arm.judged is None
    assert other_arm.judged is not None
    assert other_arm.judged.value == rate


async def test_a_scorer_that_has_changed_scores_again(tmp_path: Path) -> None:
    """The first one's scores stay for it, and are not taken for the second one's."""
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream() as reward,
    ):
        asked = []
        for model in ("a", "b", "b", "a"):
            scorer = {"url": reward.url, "model": model}
            quality = {"scorers": {"held-out": scorer}, "primary": "held-out"}
            settings = settings_of(tmp_path, arms(base, other), prompts=4, quality=quality)
            await compare(settings)
            asked.append(reward.requests)
    assert asked == [8, 16, 16, 16]


async def test_a_judge_with_another_template_judges_again(tmp_path: Path) -> None:
    template = tmp_path / "judge.jinja"
    judging = FakeJudge(lambda _: {"[[A]]": 1.0}, logprobs=False)
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(judging) as judge,
    ):
        asked = []
        for question in ("first", "first", "second"):
            template.write_text(question + " {{ conversation }} {{ a }} {{ b }}")
            section = {**written(judge.url)["judge"], "prompt": str(template)}
            settings = settings_of(
                tmp_path, arms(base, other), prompts=3, quality={"judge": section}
            )
            await compare(settings)
            asked.append(sum("one" in prompt for prompt in judging.prompts))
    assert asked == [6, 6, 12]


async def test_a_judge_that_says_nothing_is_counted(tmp_path: Path) -> None:
    judging = FakeJudge(lambda _: {"neither, really": 1.0}, logprobs=False)
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(judging) as judge,
    ):
        results = await compare(
            settings_of(tmp_path, arms(base, other), prompts=3, quality=written(judge.url))
        )
    assert results.arms[1].judged is None
    assert "3 scores of judge failed and are missing." in results.warnings


async def test_equal_answers_tie_without_asking(tmp_path: Path) -> None:
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as base, FakeUpstream() as judge:
        results = await compare(
            settings_of(tmp_path, arms(base, base), prompts=3, quality=written(judge.url))
        )
        assert not [call for call in judge.calls if call.path == "/v1/chat/completions"]
    assert results.arms[1].judged is not None
    assert results.arms[1].judged.value == 0.5


async def test_any_reward_judges_beside_a_scorer(tmp_path: Path) -> None:
    """An ensemble's members are the scorers' rewards. The higher reward wins."""
    CALLS.clear()
    hook = {"type": "hook", "function": "tests.bon_gateway.compare.ask.test_scoring:shorter"}
    member = {"reward": "short", "mean": 0.0, "std": 1.0}
    quality = {
        "scorers": {"short": {"reward": hook}},
        "judge": {"type": "ensemble", "members": [member]},
    }
    async with (
        FakeUpstream(lambda call: Step(text="three")) as base,
        FakeUpstream(lambda call: Step(text="one")) as other,
    ):
        settings = settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        results = await compare(settings)
    assert results.arms[1].judged is not None
    assert results.arms[1].judged.value == 1.0


@pytest.mark.parametrize(
    ("quality", "key"),
    [
        ({"judge": {"type": "hook", "function": "nowhere:f"}}, "quality.judge.function"),
        (
            {"scorers": {"s": {"reward": {"type": "hook", "function": "nowhere:f"}}}},
            "quality.scorers.s.reward.function",
        ),
    ],
)
async def test_a_reward_that_cannot_be_used_is_said_before_anything_is_asked(
    tmp_path: Path, quality: dict[str, Any], key: str
) -> None:
    async with FakeUpstream() as base:
        with pytest.raises(SettingsError) as caught:
            await compare(settings_of(tmp_path, arms(base, base), quality=quality))
        assert base.requests == 0
    assert caught.value.key == key


def test_a_scorer_cannot_take_the_judges_name() -> None:
    with pytest.raises(ValidationError, match="the name is taken"):
        QualitySettings.model_validate({"scorers": {"judge": {"url": "http://reward:1"}}})


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


def shorter(messages: Any, completions: Any) -> list[float]:
    """It compares the answers of one call: the place in the order of their lengths."""
    lengths = sorted({len(one["content"]) for one in completions}, reverse=True)
    CALLS.append([one["content"] for one in completions])
    return [float(lengths.index(len(one["content"]))) for one in completions]


CALLS: list[list[str]] = []


async def test_a_reward_of_the_settings_scores_all_answers_to_a_prompt(tmp_path: Path) -> None:
    CALLS.clear()
    hook = {"type": "hook", "function": "tests.bon_gateway.compare.ask.test_scoring:shorter"}
    told = io.StringIO()
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="three")) as other,
    ):
        quality = {"scorers": {"short": {"reward": hook}}, "primary": "short"}
        settings = settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        await measure(settings, progress=Progress(told))
        results = await compare(settings)
    # The second run asks nothing again.
    assert sorted(map(sorted, CALLS)) == [["one", "three"]] * 3
    assert "scored by short: 6 answers" in told.getvalue()
    means = [arm.quality["short"] for arm in results.arms]
    assert [mean and mean.value for mean in means] == [1.0, 0.0]
    assert "short: a reward of type hook (decides)" in results.setup["scorers"]


async def test_a_judge_of_the_settings_scores(tmp_path: Path) -> None:
    judging = FakeJudge(lambda prompt: {"U" if fenced(prompt)[-1] == "two" else "A": 1.0})
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
        FakeUpstream(judging) as judge,
    ):
        reward = {"type": "judge", "urls": [judge.url], "model": "judge"}
        quality = {"scorers": {"judged": {"reward": reward}}, "primary": "judged"}
        settings = settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        results = await compare(settings)
    means = [arm.quality["judged"] for arm in results.arms]
    assert [mean and mean.value for mean in means] == [0.0, 1.0]


async def test_a_reward_that_fails_is_counted(tmp_path: Path) -> None:
    hook = {"type": "hook", "function": "tests.bon_gateway.replay.test_rescored:broken"}
    async with (
        FakeUpstream(lambda call: Step(text="one")) as base,
        FakeUpstream(lambda call: Step(text="two")) as other,
    ):
        quality = {"scorers": {"broken": {"reward": hook}}}
        results = await compare(
            settings_of(tmp_path, arms(base, other), prompts=3, quality=quality)
        )
    assert "6 scores of broken failed and are missing." in results.warnings
