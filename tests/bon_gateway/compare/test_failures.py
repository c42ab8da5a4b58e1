"""What fails is counted and shown, and drops out of no average in silence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.figures.results import Arm, Results
from bon_gateway.compare.report.write import render
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

GOOD = best_of_n(tokens=10, scored=12)
PRICES = {"policy": {"input_per_million": 1.0, "output_per_million": 1.0}}


def every(third: int, step: Step) -> Callable[[Call], Step]:
    """The same request always ends alike: what hangs up on a kept connection is asked again once on
    a new one."""
    known: dict[str, int] = {}

    def answer(call: Call) -> Step:
        number = known.setdefault(json.dumps(call.body, sort_keys=True), len(known) + 1)
        return step if number % third == 0 else GOOD(call)

    return answer


async def against_a_good_one(folder: Path, bad: FakeUpstream, **more: Any) -> Results:
    async with FakeUpstream(GOOD) as good, bad:
        arms = {
            "good": {"url": good.url, "model": "fake", "bon": {"n": 2}},
            "bad": {"url": bad.url, "model": "fake", "bon": {"n": 2}, **more.pop("arm", {})},
        }
        settings = settings_of(
            folder, arms, prompts=12, **{"quality": BY_GOLD, "prices": PRICES, **more}
        )
        return await compare(settings)


def named(results: Results, name: str) -> Arm:
    return next(arm for arm in results.arms if arm.name == name)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(status=429, error={"message": "slow down"}), "rate_limited"),
        (Step(raw=b"no JSON"), "malformed"),
        (Step(raw=b'{"choices": []}'), "malformed"),
        (Step(cut_after=0), "unreachable"),
    ],
)
async def test_a_third_fails(tmp_path: Path, step: Step, kind: str) -> None:
    results = await against_a_good_one(tmp_path, FakeUpstream(every(3, step)))
    bad, good = named(results, "bad"), named(results, "good")
    assert (bad.asked, bad.answered, dict(bad.failures)) == (12, 8, {kind: 4})
    assert (good.asked, good.answered, dict(good.failures)) == (12, 12, {})
    # Same seeds, same answers: only what failed makes the difference.
    assert bad.quality["gold"] is not None
    assert good.quality["gold"] is not None
    assert bad.win_rate is not None
    assert bad.win_rate.value == pytest.approx(0.5 * 8 / 12)
    quantiles = bad.latency[0].quantiles
    assert math.isfinite(quantiles["0.5"].value)
    assert quantiles["0.9"].value == math.inf
    text = f"bad: 4 of 12 requests failed (4 {kind})."
    assert any(warning.startswith(text) for warning in results.warnings)
    assert f"4 {kind}" in render(results, {})


async def test_a_failure_counts_as_the_worst_answer_of_its_prompt(tmp_path: Path) -> None:
    """At a prompt where both arms draw the same, the failure gets the good arm's score."""
    bad = FakeUpstream(every(2, Step(status=500, error={"message": "broken"})))
    results = await against_a_good_one(tmp_path, bad)
    good = named(results, "good").quality["gold"]
    assert named(results, "bad").quality["gold"] == good


async def test_an_endpoint_that_dies_midway(tmp_path: Path) -> None:
    bad = FakeUpstream()

    def script(call: Call) -> Step:
        return Step(cut_after=0) if call.ordinal >= 5 else GOOD(call)

    bad.script = script
    results = await against_a_good_one(tmp_path, bad)
    arm = named(results, "bad")
    assert (arm.answered, dict(arm.failures)) == (5, {"unreachable": 7})
    assert results.paired_prompts == 12


async def test_an_endpoint_that_is_dead_from_the_start(tmp_path: Path) -> None:
    dead = FakeUpstream(lambda call: Step(cut_after=0))
    results = await against_a_good_one(
        tmp_path, dead, arm={"training": "dpo"}, training={"dpo": {"money": 1.0}}
    )
    arm = named(results, "bad")
    assert (arm.answered, arm.quality["gold"], arm.cost) == (0, None, None)
    assert results.tuned == ()
    assert "bad has no score by gold: its quality is not known." in results.warnings
    assert "bad" in render(results, {})


async def test_an_arm_without_a_reward(tmp_path: Path) -> None:
    silent = FakeUpstream(best_of_n(tokens=10, scored=0, reward=False))
    results = await against_a_good_one(tmp_path, silent, quality={})
    arm = named(results, "bad")
    assert (arm.answered, arm.unscored, arm.quality["selection"]) == (12, 12, None)
    assert arm.win_rate is None
    assert "bad has no score by selection: its quality is not known." in results.warnings
    assert results.verdict[0].startswith("The best answers are those of good")


async def test_too_many_failures_get_no_verdict(tmp_path: Path) -> None:
    bad = FakeUpstream(every(3, Step(status=503, error={"message": "full"})))
    results = await against_a_good_one(
        tmp_path, bad, arm={"training": "dpo"}, training={"dpo": {"money": 1.0}}
    )
    (tuned,) = results.tuned
    assert not tuned.sound
    assert any("too many requests failed" in sentence for sentence in results.verdict)


async def test_a_scorer_that_fails_is_counted(tmp_path: Path) -> None:
    odd = FakeUpstream(lambda call: Step(text="1.0") if call.ordinal else Step(text="inf"))
    results = await against_a_good_one(tmp_path, odd)
    arm = named(results, "bad")
    assert (arm.answered, arm.unscored) == (12, 1)
    assert "1 scores of gold failed and are missing." in results.warnings
    assert any("1 of 12 answers have no score" in warning for warning in results.warnings)


async def test_an_answer_without_usage_is_not_free(tmp_path: Path) -> None:
    """A third of the answers do not say what they took: the rest's mean stands for them."""
    silent = b'{"choices": [{"message": {"role": "assistant", "content": "0.5"}}]}'
    results = await against_a_good_one(tmp_path, FakeUpstream(every(3, Step(raw=silent))))
    bad, good = named(results, "bad"), named(results, "good")
    assert (bad.answered, bad.unmetered) == (12, 4)
    assert bad.cost == good.cost
    assert bad.tokens == good.tokens
    assert any(w.startswith("bad: 4 of 12 answers have no usage") for w in results.warnings)


async def test_without_any_usage_there_is_no_cost(tmp_path: Path) -> None:
    silent = b'{"choices": [{"message": {"role": "assistant", "content": "0.5"}}]}'
    results = await against_a_good_one(
        tmp_path,
        FakeUpstream(lambda call: Step(raw=silent)),
        arm={"training": "dpo"},
        training={"dpo": {"money": 1.0}},
    )
    assert named(results, "bad").cost is None
    assert results.tuned == ()
    assert any(sentence.startswith("Without prices, and scores") for sentence in results.verdict)
