"""Greedy, random choice and oracle beside best-of-N, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.greedy import with_greedy
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

SAMPLED = best_of_n(tokens=9, scored=12)
MEAN_OF_8 = 1.4236
"""E[max] of 8 standard normals."""


def with_greedy_at(value: float) -> Any:
    """Answers of quality ``value`` at temperature 0, else standard normal ones."""

    def script(call: Call) -> Step:
        if call.body.get("temperature") != 0:
            return SAMPLED(call)
        message = {"role": "assistant", "content": repr(value)}
        return Step(raw=json.dumps({"choices": [{"message": message}]}).encode())

    return script


async def found(folder: Path, script: Any, prompts: int = 60, **more: Any) -> Results:
    async with FakeUpstream(script) as upstream:
        arms = {
            f"base-{n}": {"url": upstream.url, "model": "fake", "bon": {"n": n}} for n in (1, 8)
        }
        settings = settings_of(folder, arms, prompts=prompts, **{"quality": BY_GOLD, **more})
        return await compare(with_greedy(settings))


async def test_random_choice_and_oracle_are_those_of_the_candidates(tmp_path: Path) -> None:
    results = await found(tmp_path, with_greedy_at(0.5))
    (choice,) = results.choices
    base_8 = {arm.name: arm for arm in results.arms}["base-8"].quality["gold"]
    assert (choice.arm, choice.n, choice.unknown) == ("base-8", 8, 0)
    assert choice.random.low <= 0 <= choice.random.high
    assert choice.oracle.low <= MEAN_OF_8 <= choice.oracle.high
    # The fake's reward is its quality, so best-of-8 is the oracle.
    assert choice.oracle == base_8
    assert choice.way is not None
    assert choice.way.value == pytest.approx(1.0, abs=1e-9)
    last = results.curve[-1]
    assert (last.oracle, last.random) == (choice.oracle, choice.random)
    assert last.above_greedy is not None
    assert last.above_greedy.decided
    assert "gold gives every answer the reward" in " ".join(results.warnings)


async def test_differences_are_paired(tmp_path: Path) -> None:
    """Best-of-8 less greedy is E[max of 8] less greedy's constant quality."""
    results = await found(tmp_path, with_greedy_at(0.5))
    pairs = {(one.ours, one.theirs): one for one in results.differences}
    one = pairs["base-8", "greedy"]
    assert one.difference.low <= MEAN_OF_8 - 0.5 <= one.difference.high
    assert (one.decided, one.prompts_needed, one.prompts) == (True, None, 60)
    assert pairs["base-8", "random choice of base-8"].decided
    assert not pairs["oracle of base-8", "base-8"].decided
    assert pairs["oracle of base-8", "base-8"].prompts_needed is None  # exactly nothing
    assert "over greedy decoding it has +" in " ".join(results.verdict)
    assert "of the way from greedy decoding to the oracle" in " ".join(results.verdict)


async def test_what_is_not_decided_says_how_many_prompts_would_do(tmp_path: Path) -> None:
    """Greedy decoding of nearly the mean quality of best-of-8."""
    results = await found(tmp_path, with_greedy_at(1.45), prompts=20)
    pairs = {(one.ours, one.theirs): one for one in results.differences}
    one = pairs["base-8", "greedy"]
    assert not one.decided
    assert one.difference.low <= 0 <= one.difference.high
    assert one.prompts_needed is not None
    assert one.prompts_needed > 20
    said = " ".join(results.verdict)
    assert f", not decided (about {one.prompts_needed:,} prompts would do)" in said
    assert results.choices[0].way is None  # no room between the two that is sure


async def test_an_arm_without_listed_candidates_has_no_such_rows(tmp_path: Path) -> None:
    def silent(call: Call) -> Step:
        return Step(raw=b'{"choices": [{"message": {"role": "assistant", "content": "0.5"}}]}')

    results = await found(tmp_path, silent, prompts=6)
    assert results.choices == ()
    assert all(point.oracle is None for point in results.curve)


async def test_a_pool_that_is_not_known_is_counted(tmp_path: Path) -> None:
    """One answer of 60 lists no candidates."""
    seen: list[int] = []

    def script(call: Call) -> Step:
        if call.body["bon"]["n"] == 8:
            seen.append(1)
            if len(seen) == 3:
                text = b'{"choices": [{"message": {"role": "assistant", "content": "0.5"}}]}'
                return Step(raw=text)
        return SAMPLED(call)

    results = await found(tmp_path, script)
    assert results.choices[0].unknown == 1
    assert any(w.startswith("base-8: 1 answers have no scores of") for w in results.warnings)


async def test_without_a_greedy_arm_the_verdict_says_so(tmp_path: Path) -> None:
    results = await found(tmp_path, SAMPLED, prompts=10, greedy=False)
    assert "No arm at temperature 0 was asked" in " ".join(results.verdict)


async def test_greedy_is_no_sample_of_the_policy(tmp_path: Path) -> None:
    """It stands for no N of the curve, even where it is the only arm of one answer."""
    async with FakeUpstream(with_greedy_at(9.0)) as upstream:
        arms = {"base-8": {"url": upstream.url, "model": "fake", "bon": {"n": 8}}}
        settings = with_greedy(settings_of(tmp_path, arms, quality=BY_GOLD))
        results = await compare(settings)
    assert results.curve[0].n == 1
    assert results.curve[0].quality.value < 2
    assert all(latency.shift is None for arm in results.arms for latency in arm.latency)
