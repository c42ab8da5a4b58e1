"""Spread and correlations within prompts: exact on small tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bon_common.selection.within import WithinSums
from bon_gateway.calibrate.figures.partial import partial_correlations
from bon_gateway.calibrate.figures.within import (
    group_sums,
    reward_correlations,
    reward_spread,
    variance_components,
)
from bon_gateway.compare.statistics import Resamples
from tests.bon_gateway.calibrate.kit import prompts_of
from tests.bon_gateway.replay.kit import candidate, candidates, line, write


def components(groups: list[list[float]]) -> tuple[float, float]:
    return variance_components([math.fsum(p) for p in zip(*map(group_sums, groups), strict=True)])


def test_variance_components_are_exact() -> None:
    within, between = components([[1.0, 2.0, 3.0], [4.0, 6.0, 8.0]])
    assert within == pytest.approx((2 + 8) / 4, abs=1e-12)
    # MSB = 3 (2^2 + 2^2) / 1 = 24, so between = (24 - 2.5) / 3.
    assert between == pytest.approx((24 - 2.5) / 3, abs=1e-12)


def test_variance_components_of_unequal_groups() -> None:
    within, between = components([[0.0, 2.0], [3.0, 3.0, 6.0, 4.0]])
    # MSW = (2 + 6) / 4; grand mean 3, MSB = 2 (1 - 3)^2 + 4 (4 - 3)^2 = 12; n0 = 6 - 20 / 6.
    assert within == pytest.approx(2.0, abs=1e-12)
    assert between == pytest.approx((12 - 2) / (6 - 20 / 6), abs=1e-12)


def test_means_that_vary_less_than_chance_have_no_variance() -> None:
    assert components([[0.0, 10.0], [10.0, 0.0]]) == (50.0, 0.0)
    assert components([[1.0, 3.0]]) == (2.0, 0.0)


def test_the_spread_of_pools(tmp_path: Path) -> None:
    lines = [
        line(candidates([1.0, 2.0, 3.0]), "a"),
        line(candidates([4.0, 6.0, 8.0]), "b"),
    ]
    prompts = prompts_of(write(tmp_path / "p.jsonl", lines))
    found = reward_spread(prompts, Resamples(2, 100, 0.95, 0))
    assert found.within.value == pytest.approx(math.sqrt(2.5), abs=1e-9)
    assert found.between.value == pytest.approx(math.sqrt(21.5 / 3), abs=1e-9)
    assert found.without_spread.value == 0
    assert found.distinct.value == 100
    flat = prompts_of(write(tmp_path / "f.jsonl", [line(candidates([1.0] * 4), p) for p in "ab"]))
    told = reward_spread(flat, Resamples(2, 100, 0.95, 0))
    assert (told.within.value, told.without_spread.value, told.distinct.value) == (0, 1, 25)


def test_length_and_reward_within_prompts(tmp_path: Path) -> None:
    """Between prompts longer answers have lower rewards; within them each token adds 0.5."""
    lines = [
        line(candidates([1.0, 2.0, 3.0], tokens=[12, 14, 16]), "a"),
        line(candidates([-9.0, -8.5], tokens=[40, 41]), "b"),
    ]
    prompts = prompts_of(write(tmp_path / "p.jsonl", lines))
    found, characters = reward_correlations(prompts, Resamples(2, 100, 0.95, 0))
    assert (found.name, characters.name) == ("reward and tokens", "reward and characters")
    assert characters.correlation is None
    assert found.correlation is not None
    assert found.correlation.value == pytest.approx(1, abs=1e-12)
    assert found.slope is not None
    assert found.slope.value == pytest.approx(0.5, abs=1e-12)
    assert (found.candidates, found.prompts) == (5, 2)


def test_the_slope_in_characters_is_that_of_length_calibration(tmp_path: Path) -> None:
    texts = ["a", "abc", "abcdefg"]
    rewards = [1.0, 0.5, -0.7]
    lines = [line(candidates(rewards, texts=texts), prompt) for prompt in "ab"]
    prompts = prompts_of(write(tmp_path / "p.jsonl", lines))
    _, found = reward_correlations(prompts, Resamples(2, 100, 0.95, 0))
    wanted = WithinSums.of([[*zip(rewards, [1.0, 3.0, 7.0], strict=True)]])
    assert found.slope is not None
    assert found.slope.value == pytest.approx(wanted.slope, abs=1e-12)


def test_a_correlation_is_pooled_over_prompts(tmp_path: Path) -> None:
    drawn = candidates([0.0, 1.0], golds=[0.0, 2.0])
    other = candidates([0.0, 2.0], golds=[2.0, 0.0])
    prompts = prompts_of(write(tmp_path / "p.jsonl", [line(drawn, "a"), line(other, "b")]))
    tokens, _, gold = reward_correlations(prompts, Resamples(2, 100, 0.95, 0))
    assert tokens.correlation is None
    assert gold.correlation is not None
    # Products 1 and -2; squares of gold 2 and 2, of reward 0.5 and 2.
    assert gold.correlation.value == pytest.approx(-1 / math.sqrt(4 * 2.5), abs=1e-12)


def test_partial_rewards(tmp_path: Path) -> None:
    """After 5 tokens they are all noise, after 10 they are the final reward less 1."""
    noise = [0.0, 1.0, 1.0, 0.0]
    drawn = [
        candidate(i, tokens=20, reward=r, partial_rewards=[[5, noise[i]], [10, r - 1], [20, r]])
        for i, r in enumerate([0.0, 1.0, 2.0, 3.0])
    ]
    prompts = prompts_of(write(tmp_path / "p.jsonl", [line(drawn, "a"), line(drawn, "b")]))
    found = {one.name: one for one in partial_correlations(prompts, Resamples(2, 100, 0.95, 0))}
    assert [*found] == [
        "partial reward at 25% of the answer",
        "partial reward at 50% of the answer",
        "partial reward after 5 tokens",
        "partial reward after 10 tokens",
    ]
    values = [one.correlation.value for one in found.values() if one.correlation]
    assert values == pytest.approx([0, 1, 0, 1], abs=1e-12)
    assert found["partial reward after 5 tokens"].candidates == 8


def test_without_partial_rewards_there_is_no_rho(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [line(candidates([0.0, 1.0]), p) for p in "ab"])
    assert partial_correlations(prompts_of(path), Resamples(2, 100, 0.95, 0)) == []
