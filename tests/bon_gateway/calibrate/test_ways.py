"""What each way to answer is expected to give: exact on small pools, and as the strategies do."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.calibrate.figures.consensus import TunedMbr
from bon_gateway.calibrate.figures.good_enough import TunedGoodEnough, thresholds_of, wave_run
from bon_gateway.calibrate.figures.hedges import (
    TunedPessimistic,
    TunedPoisson,
    TunedSoft,
    log_steps,
)
from bon_gateway.calibrate.figures.voting import TunedMajorityOfTheBests, TunedWeightedVote
from bon_gateway.calibrate.figures.ways import TunedBestOfN, oracle_columns, sizes_up_to
from bon_gateway.calibrate.pools import CalibrationPrompts
from bon_gateway.replay.run import run as replay
from tests.bon_gateway.calibrate.kit import prompts_of
from tests.bon_gateway.replay.kit import candidate, candidates, line, settings_of, write

REWARDS = [0.0, 3.0, 1.0, 2.0]
GOLDS = [0.5, 0.0, 1.0, 0.25]
TOKENS = [10, 20, 30, 40]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    drawn = candidates(REWARDS, golds=GOLDS, tokens=TOKENS)
    return write(tmp_path / "p.jsonl", [line(drawn, "a"), line(drawn, "b")])


@pytest.fixture
def prompts(path: Path) -> CalibrationPrompts:
    return prompts_of(path)


def test_best_of_n_is_the_mean_over_all_draws(prompts: CalibrationPrompts) -> None:
    best = TunedBestOfN(prompts, 4)
    for n in (1, 2, 3, 4):
        draws = [*itertools.combinations(range(4), n)]
        winners = [max(draw, key=lambda p: REWARDS[p]) for draw in draws]
        found = best.columns(n)
        assert found.golds is not None
        assert found.golds[0] == pytest.approx(fmean(GOLDS[p] for p in winners), abs=1e-12)
        assert found.rewards[0] == pytest.approx(fmean(REWARDS[p] for p in winners), abs=1e-12)
        assert (found.drawn[0], found.tokens[0]) == (n, 25 * n)
    assert best.settings(1) == {"type": "single"}
    assert best.settings(3) == {"type": "best_of_n", "n": 3}


def test_poisson_mixes_the_curve(prompts: CalibrationPrompts) -> None:
    best = TunedBestOfN(prompts, 3)
    found = TunedPoisson(prompts, 3, best).columns(0.5)
    one, two = math.exp(-0.5), 0.5 * math.exp(-0.5)
    chances = [one, two, 1 - one - two]
    golds = [best.columns(n).mean_worth([0]) for n in (1, 2, 3)]
    wanted = sum(chance * gold for chance, gold in zip(chances, golds, strict=True))
    assert found.mean_worth([0]) == pytest.approx(wanted, abs=1e-12)
    drawn = chances[0] + 2 * chances[1] + 3 * chances[2]
    assert found.drawn[0] == pytest.approx(drawn, abs=1e-12)
    assert found.tokens[0] == pytest.approx(25 * drawn, abs=1e-12)


def test_pessimistic_has_the_closed_chances(prompts: CalibrationPrompts) -> None:
    found = TunedPessimistic(prompts, 4, 1.0).columns(1.0)
    # Rewards 0, 1, 2, 3 win with the chances 0, 1/12, 1/3, 7/12.
    assert found.rewards[0] == pytest.approx((1 + 8 + 21) / 12, abs=1e-12)
    assert found.mean_worth([0]) == pytest.approx(1 / 12 + 0.25 / 3, abs=1e-12)
    assert found.drawn == [4, 4]


def test_soft_draws_in_runs_of_n(prompts: CalibrationPrompts) -> None:
    soft = TunedSoft(prompts, 2, 1.0)
    # In a circle: rewards 0 and 3, 3 and 1, 1 and 2, 2 and 0.
    golds = []
    for one, other in ((0, 1), (1, 2), (2, 3), (3, 0)):
        chance = 1 / (1 + math.exp(REWARDS[other] - REWARDS[one]))
        golds.append(chance * GOLDS[one] + (1 - chance) * GOLDS[other])
    assert soft.columns(1.0).mean_worth([0, 1]) == pytest.approx(fmean(golds), abs=1e-12)
    slope = soft.slope(1.0, [0, 1])
    low, high = (soft.columns(t).mean_worth([0, 1]) for t in (0.999, 1.001))
    assert slope == pytest.approx(2 * (high - low) / 0.002, abs=1e-5)


def test_majority_of_the_bests(tmp_path: Path) -> None:
    """The closed case: A, B, B, B, C by rising reward; m = 2 chooses B where argmax says C."""
    drawn = candidates(
        [0.0, 1.0, 2.0, 3.0, 4.0], golds=[0.0, 0.1, 0.2, 1.0, 0.5], texts=["1", "2", "2", "2", "3"]
    )
    lines = [line(drawn, "a"), line(drawn, "b")]
    extract = {"type": "last_number"}
    prompts = prompts_of(write(tmp_path / "p.jsonl", lines), extract=extract)
    vote = TunedMajorityOfTheBests(prompts, 5, extract)
    assert [vote.columns(m).mean_worth([0]) for m in (1, 2, 5)] == [1.0, 1.0, 0.5]
    assert vote.settings(2)["m"] == 2
    weighed = TunedWeightedVote(prompts, 5, extract, 1.0)
    # At 0.1 the best reward decides, at 10 the number of votes.
    assert [weighed.columns(value).mean_worth([0]) for value in (0.1, 10.0)] == [0.5, 1.0]
    assert weighed.settings(0.5)["reward_temperature"] == 0.5
    silent = candidates([0.0, 4.0], golds=[0.0, 0.5], texts=["none", "here"])
    lines = [line(silent, "a"), line(silent, "b")]
    prompts = prompts_of(write(tmp_path / "q.jsonl", lines), extract=extract)
    assert TunedMajorityOfTheBests(prompts, 2, extract).columns(1).mean_worth([0]) == 0.5


def test_mbr_adds_what_consensus_is_worth(tmp_path: Path) -> None:
    """The best reward stands alone; two others say the same."""
    drawn = candidates(
        [3.0, 1.0, 2.0], golds=[0.0, 0.4, 1.0], texts=["other words", "the same", "the same"]
    )
    prompts = prompts_of(write(tmp_path / "p.jsonl", [line(drawn, p) for p in "ab"]))
    mbr = TunedMbr(prompts, 3, 1.0)
    # The two equal ones have a consensus of 0.5 and a little more.
    assert [mbr.columns(beta).mean_worth([0]) for beta in (0.0, 1.5, 4.0)] == [0.0, 0.0, 1.0]
    assert mbr.plain == mbr.values[0] == 0
    assert mbr.settings(4.0)["similarity"] == {"type": "ngrams", "size": 3}


def test_a_truncated_candidate_wins_only_alone(tmp_path: Path) -> None:
    drawn = [
        candidate(0, gold=1.0, reward=0.0),
        candidate(1, gold=0.0, reward=9.0, status="truncated", finish_reason="length"),
    ]
    prompts = prompts_of(write(tmp_path / "p.jsonl", [line(drawn, p) for p in "ab"]))
    assert TunedBestOfN(prompts, 2).columns(2).mean_worth([0]) == 1
    assert TunedSoft(prompts, 2, 1.0).columns(100.0).mean_worth([0]) == 1
    assert TunedPessimistic(prompts, 2, 1.0).columns(100.0).mean_worth([0]) == 1
    waves = TunedGoodEnough(prompts, 2, 2, [5.0]).columns(5.0)
    assert waves.mean_worth([0]) == 1


def test_waves_end_where_a_reward_passes(prompts: CalibrationPrompts) -> None:
    pool = prompts.pools[0][0]
    run = wave_run(pool, [0, 2, 1, 3], Waves(1, 1, 4), 1.0)
    assert (run.winner, run.drawn, run.accepted) == (2, [0, 2], True)
    run = wave_run(pool, [0, 2, 3, 1], Waves(2, 2, 3), 9.0)
    assert (run.winner, run.drawn, run.accepted) == (3, [0, 2, 3], False)


def test_a_truncated_candidate_ends_no_wave(tmp_path: Path) -> None:
    drawn = [candidate(0, reward=9.0, status="truncated"), candidate(1, reward=1.0)]
    prompts = prompts_of(write(tmp_path / "p.jsonl", [line(drawn, p) for p in "ab"]))
    run = wave_run(prompts.pools[0][0], [0, 1], Waves(1, 1, 2), 5.0)
    assert (run.winner, run.drawn, run.accepted) == (1, [0, 1], False)


def test_thresholds_are_passed_by_the_rewards_they_come_from(tmp_path: Path) -> None:
    rewards = [[0.123456, -1.0], [-0.98765, -2.0], [4.0, 0.0], [0.3, 0.1]]
    lines = [line(candidates(own), f"{place}") for place, own in enumerate(rewards)]
    prompts = prompts_of(write(tmp_path / "p.jsonl", lines))
    found = thresholds_of([pool for (pool,) in prompts.pools], 2)
    assert found == [-0.9877, 0.1234, 0.3, 4.0]


@pytest.mark.parametrize(
    ("tuned", "value"),
    [
        (lambda p: TunedSoft(p, 8, 1.0), 0.7),
        (lambda p: TunedPessimistic(p, 8, 1.0), 0.4),
        (lambda p: TunedMbr(p, 8, 1.0), 3.0),
        (lambda p: TunedPoisson(p, 8, TunedBestOfN(p, 8)), 2.5),
        (lambda p: TunedGoodEnough(p, 8, 2, [1.5]), 1.5),
        (lambda p: TunedBestOfN(p, 8), 5),
    ],
)
def test_the_strategy_that_serves_does_what_is_expected_of_it(
    tmp_path: Path, tuned: Any, value: float
) -> None:
    """Replayed with the very settings, in many orders, it gives the same gold, but for chance."""
    lines = [
        line(
            candidates(
                [((7 * i + 3 * place) % 11) / 4 for place in range(8)],
                golds=[((5 * i + place * place) % 6) / 5 for place in range(8)],
                tokens=[10 + (place * 7 + i) % 9 for place in range(8)],
            ),
            f"prompt {i}",
        )
        for i in range(12)
    ]
    path = write(tmp_path / "p.jsonl", lines)
    way = tuned(prompts_of(path))
    settings = settings_of(path, {"way": dict(way.settings(value))}, permutations=120)
    (row,) = [row for row in replay(settings, lambda _: None).rows if row.name == "way"]
    found = way.columns(value)
    assert row.gold is not None
    assert row.gold.value == pytest.approx(fmean(found.worths), abs=0.03)
    assert row.tokens.value == pytest.approx(fmean(found.tokens), rel=0.04)


def test_the_oracle_chooses_by_gold(prompts: CalibrationPrompts) -> None:
    assert oracle_columns(prompts, 4).mean_worth([0]) == 1
    assert oracle_columns(prompts, 1).mean_worth([0]) == pytest.approx(fmean(GOLDS), abs=1e-12)


def test_what_is_tried() -> None:
    assert sizes_up_to(13) == [1, 2, 3, 4, 6, 8, 12, 13]
    assert sizes_up_to(2) == [1, 2]
    assert log_steps(0.1, 1.0, 0.5) == [0.1, 0.316, 1.0]
