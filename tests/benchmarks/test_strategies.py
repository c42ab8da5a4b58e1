"""What ``benchmarks/strategies.py`` computes, on pools that are made small."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from statistics import correlation, fmean, pstdev
from typing import Any

import pytest

from bon_gateway.compare.statistics import Interval
from tests.benchmarks.programs import module

made, bench, live = module("synthetic_pools"), module("strategies"), module("strategies_live")
SHAPES = {shape.name: shape for shape in made.SHAPES}


@pytest.mark.parametrize(
    ("shape", "share"), [("gaussian", 0.640), ("exponential", 0.676), ("uniform", 0.531)]
)
def test_the_oracle_needs_what_theory_says(shape: str, share: float) -> None:
    """Shares of a rule that stops at one threshold, computed exactly elsewhere for no cap."""
    assert made.oracle_share(SHAPES[shape], 16, 32, 4000, 1) == pytest.approx(share, abs=0.03)


def test_the_oracle_spends_where_rewards_spread_far() -> None:
    """It knows the prompts' spreads, so that it needs less where they differ."""
    alike, apart = (
        made.oracle_share(SHAPES[shape], 16, 32, 4000, 1)
        for shape in ("gaussian", "gaussian, spreads differ")
    )
    assert apart < alike - 0.03


def test_pools_have_the_spread_and_the_size_that_they_say() -> None:
    pools = made.made_pools(SHAPES["exponential"], made.PARTIALS["f"], 200, 32, 1)
    assert {len(pool.candidates) for pool in pools.pools} == {32}
    assert all(pool.prompt_tokens == made.PROMPT_TOKENS for pool in pools.pools)
    means = [fmean(c.reward for c in pool.candidates) for pool in pools.pools]
    within = [c.reward - m for pool, m in zip(pools.pools, means, strict=True)
              for c in pool.candidates]  # fmt: skip
    assert fmean(x * x for x in within) == pytest.approx(31 / 32, abs=0.1)
    again = made.made_pools(SHAPES["exponential"], made.PARTIALS["f"], 200, 32, 1)
    assert again.pools == pools.pools


@pytest.mark.parametrize("name", [*made.PARTIALS])
def test_unfinished_answers_tell_of_the_end_as_much_as_they_should(name: str) -> None:
    partial, source = made.PARTIALS[name], random.Random(1)
    prompt = made.Prompt(SHAPES["gaussian"], 0.0, 1.0, 1.0)
    pairs: list[tuple[float, float]] = []
    while len(pairs) < 1500:
        told = made._candidate(0, prompt, partial, source)
        for seen, reward in told["partial_rewards"]:
            if 0.2 < seen / told["tokens"] < 0.3:
                pairs.append((reward, told["reward"]))
    assert correlation(*zip(*pairs, strict=True)) == pytest.approx(partial(0.25), abs=0.06)
    assert pstdev([reward for reward, _ in pairs]) == pytest.approx(1.0, abs=0.06)


def test_most_rewards_are_zero_where_they_should_be() -> None:
    shape = SHAPES["heavy tail at zero"]
    pools = made.made_pools(shape, made.PARTIALS["f"], 60, 16, 1).pools
    rewards = [c.reward for pool in pools for c in pool.candidates]
    assert min(rewards) == 0
    assert 0.5 < fmean(reward == 0 for reward in rewards) < 0.8


def case(**more: Any) -> Any:
    pools = made.made_pools(SHAPES["gaussian"], made.PARTIALS["f"], 14, 32, 1)
    return bench.Case("c", "rewards", pools, 4, {"type": "best_of_n", "n": 16}, **more)


def test_the_base_beside_itself() -> None:
    found = bench.Measured(case(seeds=2), 100).figures({"type": "best_of_n", "n": 16})
    assert (found.tokens, found.tokens_scored_too, found.drawn, found.rounds) == (100, 100, 100, 1)
    assert found.reward == Interval(0, 0, 0)
    assert found.gold is None
    assert found.p95_to_one > 1


def test_half_the_candidates_cost_half_and_answer_worse() -> None:
    found = bench.Measured(case(seeds=3), 100).figures({"type": "best_of_n", "n": 8})
    assert found.drawn == 50
    assert 40 < found.tokens < 60
    assert found.reward.high < 0
    assert not bench.equal(found)


def test_prompts_that_teach_are_not_counted() -> None:
    assert len(bench.run(case(), {"type": "single"})) == 10


def test_verdicts() -> None:
    rival = bench.Rival("r", {}, (bench.Goal("rounds", lambda f: f.rounds, 3.5),), ("real",))
    good = bench.Figures(80, 80, 80, 80, 3.5, 1, 2, 3, Interval(-0.1, -0.2, 0.0), None)
    assert bench.verdicts(rival, good) == ["pass: rounds 3.5 (at most 3.5)"]
    bad = bench.Figures(80, 80, 80, 80, 3.6, 1, 2, 3, None, Interval(-0.1, -0.2, -0.01))
    assert bench.verdicts(rival, bad) == ["MISS: worse answers", "MISS: rounds 3.6 (at most 3.5)"]


def test_the_short_form_runs_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.json"
    command = ["strategies.py", "--smoke", "--only", "majority, stop_at", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    bench.main()
    (result,) = json.loads(path.read_text())["results"]
    assert (result["pools"], result["strategy"]) == ("votes", "majority, stop_at")
    assert result["drawn"] < 100


def test_live_figures_are_paired_with_best_of_n() -> None:
    def answered(tokens: int, reward: float, seconds: float) -> Any:
        return live.Answered(8, tokens, 10, 2, reward, seconds)

    best = {number: answered(100 if number % 2 else 7, float(number), 1.0) for number in range(4)}
    ours = {number: answered(40, 1.5 + number, 0.1 * number) for number in (1, 3)}
    found = live.figures("it", ours, best)
    assert (found.requests, found.tokens_percent, found.rounds) == (2, 40, 2)
    assert found.tokens_scored_too_percent == pytest.approx(100 * 50 / 110)
    assert found.reward.value == pytest.approx(1.5)
    assert found.p95_ms == pytest.approx(300)
    assert set(live.strategies(4, None)) >= {"best_of_n", "single", "adaptive", "first_k"}
    assert set(live.strategies(4, ["first_k"])) == {"best_of_n", "single", "first_k"}
