"""A pair of endpoints of which everything is known gives back what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.figures.results import Arm, Results
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import PROMPT_TOKENS, best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

LENGTH, SCORED = 100, 120
TUNED_MEAN = 0.95
"""E[max] of 3 standard normals is .8463, of 4 it is 1.0294: 4 equal it."""
PRICES = {
    "policy": {"input_per_million": 10.0, "output_per_million": 100.0},
    "reward": {"input_per_million": 5.0},
}
BON_4 = (PROMPT_TOKENS * 10 + 4 * LENGTH * 100 + 4 * SCORED * 5) / 1e6
TUNED = (PROMPT_TOKENS * 10 + LENGTH * 100) / 1e6
TRAINING = 500.0
BREAK_EVEN = TRAINING / (BON_4 - TUNED)


async def synthetic(folder: Path, mean: float = TUNED_MEAN, **more: Any) -> tuple[Results, int]:
    """What was found, and how many requests the endpoints got."""
    async with (
        FakeUpstream(best_of_n(tokens=LENGTH, scored=SCORED)) as base,
        FakeUpstream(best_of_n(tokens=LENGTH, scored=0, mean=mean)) as tuned,
    ):
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}} for n in (1, 2, 8)
        }
        arms["tuned"] = {"url": tuned.url, "model": "fake", "training": "dpo"}
        settings = settings_of(
            folder,
            arms,
            prompts=60,
            quality=BY_GOLD,
            prices=PRICES,
            training={"dpo": {"money": TRAINING, "retrains_per_month": 1}},
            load={"warm_up": 1, "repeats": 3, "concurrency": 4},
            **more,
        )
        return await compare(settings), base.requests + tuned.requests


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_break_even_is_within_its_interval(tmp_path: Path, seed: int) -> None:
    results, _ = await synthetic(tmp_path, seed=seed)
    (tuned,) = results.tuned
    assert tuned.matched_n.low <= 4 <= tuned.matched_n.high
    assert tuned.matched_n.high <= 8
    assert tuned.break_even is not None
    assert tuned.break_even.low * (1 - 1e-9) <= BREAK_EVEN <= tuned.break_even.high * (1 + 1e-9)
    assert tuned.tuned_cost.value == pytest.approx(TUNED, abs=1e-9)
    at_n = {point.n: point.cost for point in results.curve}
    assert at_n[4] == pytest.approx(BON_4, abs=1e-9)
    assert tuned.sound


async def test_costs_add_up_to_the_endpoints_usage(tmp_path: Path) -> None:
    """The 8 arm alone: 8 x 100 tokens, 8 x 120 scored; measured and modelled alike."""
    results, requests = await synthetic(tmp_path)
    arms = {arm.name: arm for arm in results.arms}
    assert requests == 4 * (60 * 3 + 1)
    for n in (1, 2, 8):
        arm = arms[f"base-{n}"]
        assert total_tokens(arm) == arm.answered * (PROMPT_TOKENS + n * LENGTH)
        exact = (PROMPT_TOKENS * 10 + n * LENGTH * 100 + n * SCORED * 5) / 1e6
        assert arm.cost is not None
        assert arm.cost.value == pytest.approx(exact, abs=1e-9)
        # By the model a single answer is not scored; this endpoint scores it all the same.
        needed = exact if n > 1 else exact - SCORED * 5 / 1e6
        assert {p.n: p.cost for p in results.curve}[n] == pytest.approx(needed, abs=1e-9)


def total_tokens(arm: Arm) -> float:
    spent = arm.tokens
    return arm.answered * (spent.prompt + spent.winner + spent.discarded)


async def test_the_curve_is_that_of_normal_rewards(tmp_path: Path) -> None:
    results, _ = await synthetic(tmp_path)
    expected = {1: 0.0, 2: 0.5642, 4: 1.0294, 8: 1.4236}
    curve = {point.n: point.quality for point in results.curve}
    assert results.curve_source == "the candidates of base-8"
    for n, mean in expected.items():
        assert curve[n].low <= mean <= curve[n].high


async def test_the_verdict_says_it(tmp_path: Path) -> None:
    results, _ = await synthetic(tmp_path)
    text = " ".join(results.verdict)
    assert "tuned equals best-of-4 (N from" in text
    assert "Training for 500 USD pays back after" in text
    assert "With its retraining it" in text
    assert "base-8" in results.verdict[0]


async def test_a_policy_better_than_all_n_is_compared_with_the_largest(tmp_path: Path) -> None:
    """Costs are the same for every prompt, and no resample finds an N: the interval is a point."""
    results, _ = await synthetic(tmp_path, mean=9.0)
    (tuned,) = results.tuned
    assert (tuned.matched_n.low, tuned.compared_n) == (float("inf"), 8)
    assert tuned.break_even is not None
    bon_8 = (PROMPT_TOKENS * 10 + 8 * LENGTH * 100 + 8 * SCORED * 5) / 1e6
    for requests in (tuned.break_even.low, tuned.break_even.value, tuned.break_even.high):
        assert requests == pytest.approx(TRAINING / (bon_8 - TUNED), rel=1e-9)
    assert "is better than best-of-8, the largest known" in " ".join(results.verdict)


async def test_a_policy_that_is_dearer_never_pays(tmp_path: Path) -> None:
    async with (
        FakeUpstream(best_of_n(tokens=LENGTH, scored=SCORED)) as base,
        FakeUpstream(best_of_n(tokens=LENGTH, scored=0, mean=9.0)) as better,
    ):
        arms: dict[str, Any] = {
            "base": {"url": base.url, "model": "fake", "bon": {"n": 2}},
            "tuned": {
                "url": better.url,
                "model": "fake",
                "training": "dpo",
                "policy_price": {"input_per_million": 10.0, "output_per_million": 1000.0},
            },
        }
        settings = settings_of(
            tmp_path, arms, quality=BY_GOLD, prices=PRICES, training={"dpo": {"money": 1.0}}
        )
        results = await compare(settings)
    (tuned,) = results.tuned
    assert tuned.break_even is not None
    assert tuned.break_even.value == float("inf")
    assert "It saves nothing, so it never pays: stay with" in " ".join(results.verdict)
