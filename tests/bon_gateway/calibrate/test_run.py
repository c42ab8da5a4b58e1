"""A whole calibration: hedges keep what plain best-of-N loses, and what is said is true."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_common.settings.errors import SettingsError
from bon_gateway.calibrate.figures.curve import over_optimisation
from bon_gateway.calibrate.report.tables import tables
from bon_gateway.calibrate.report.write import fragment
from bon_gateway.compare.statistics import Resamples
from tests.bon_gateway.calibrate.kit import calibrated, fooled, rows, trusted
from tests.bon_gateway.replay.kit import candidate, candidates, line, write


@pytest.fixture(scope="module")
def hacked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("fooled") / "p.jsonl"
    return calibrated(write(path, fooled(prompts=60)))


def test_the_hedge_keeps_what_best_of_n_loses(hacked: Any) -> None:
    found = rows(hacked)
    best, hedged = found["best_of_n n=16"], found["pessimistic"]
    assert best.share.high < 90
    assert hedged.share.value >= 98
    assert hedged.share.low >= 95
    assert hedged.gold_beside.low > 0
    assert hedged.settings["n"] == 16
    assert hacked.recommended.settings == found[hacked.recommended.row].settings


def test_the_best_hedge_is_tried_with_fewer_candidates(hacked: Any) -> None:
    names = [row.name for row in hacked.rows]
    assert [name for name in names if "pessimistic" in name] == [
        "pessimistic",
        "pessimistic n=8",
        "pessimistic n=4",
        "pessimistic n=2",
    ]
    assert not any(name.startswith("soft n") for name in names)
    smaller = rows(hacked)["pessimistic n=8"]
    assert smaller.settings["n"] == 8
    assert smaller.tokens.value == pytest.approx(rows(hacked)["pessimistic"].tokens.value / 2)


def test_the_curve_and_its_fit_say_so(hacked: Any) -> None:
    golds = {point.n: point.gold.value for point in hacked.curve}
    assert max(golds, key=lambda n: golds[n]) in (3, 4, 6)
    assert golds[16] < golds[4] - 0.1
    assert hacked.over_optimisation.beta.low > 0
    assert 2 < hacked.over_optimisation.best_n < 8
    rewards = [point.reward.value for point in hacked.curve]
    assert rewards == sorted(rewards)
    assert rows(hacked)["best_of_n, n chosen"].settings["n"] in (3, 4, 6)


def test_a_right_reward_needs_no_hedge(tmp_path: Path) -> None:
    found = calibrated(write(tmp_path / "p.jsonl", trusted(prompts=60)))
    soft = rows(found)["soft"]
    assert soft.gold.value == pytest.approx(rows(found)["best_of_n n=16"].gold.value, abs=0.03)
    assert found.over_optimisation is not None
    assert found.over_optimisation.best_n is None
    assert found.recommended.settings["type"] != "pessimistic"


def test_a_hedge_that_is_plain_best_of_n_is_not_recommended(tmp_path: Path) -> None:
    rng = random.Random(2)
    drawn = [[rng.random() for _ in range(8)] for _ in range(20)]
    lines = [line(candidates(own, golds=own), f"{place}") for place, own in enumerate(drawn)]
    found = calibrated(write(tmp_path / "p.jsonl", lines))
    assert found.recommended.settings["type"] in ("best_of_n", "good_enough")
    names = [row.name for row in found.rows]
    assert not any(name.startswith(("soft n=", "pessimistic n=")) for name in names)
    assert any("where it is plain best-of-8" in warning for warning in found.warnings)


def test_the_luck_of_few_runs_makes_no_hedge(tmp_path: Path) -> None:
    """Every run of four in the circle of eight holds one of the two best. So a hedge that is plain
    best-of-4 seems better than best-of-4 is over all draws."""
    rng = random.Random(4)
    lines = []
    for number in range(20):
        own = [rng.random() / 10 for _ in range(8)]
        own[0], own[4] = 1.0, 0.9
        lines.append(line(candidates(own, golds=own), f"{number}"))
    found = calibrated(write(tmp_path / "p.jsonl", lines), n=4, wave=4)
    soft, best = rows(found)["soft"], rows(found)["best_of_n n=4"]
    assert soft.gold.value > best.gold.value + 0.1
    assert found.recommended.settings["type"] in ("best_of_n", "good_enough")


def test_a_threshold_is_guaranteed(tmp_path: Path) -> None:
    """Gold is 1 with the chance that the reward says."""
    found = calibrated(write(tmp_path / "p.jsonl", trusted(prompts=400, size=4)), risk=0.2)
    good_enough, at_once = found.guarantees
    assert good_enough.name == "good_enough"
    for one in (good_enough, at_once):
        assert one.threshold is not None
        assert one.bound is not None
        assert one.bound <= 0.2
        assert one.tested == 200
        assert one.bad / one.accepted < 0.2
    assert (good_enough.wave, at_once.wave) == (1, 4)


def test_what_no_threshold_can_promise_is_said(tmp_path: Path) -> None:
    found = calibrated(write(tmp_path / "p.jsonl", trusted(prompts=10)))
    assert all(one.threshold is None for one in found.guarantees)
    assert "no threshold keeps the risk at 10% with 95% confidence" in found.guarantees[0].told


def test_what_is_good_may_have_to_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", fooled(prompts=10))
    assert calibrated(path).guarantees == ()
    found = calibrated(path, good=0.3)
    assert found.setup["Good"] == "gold of 0.3 or more"
    assert len(found.guarantees) == 2


def test_without_gold_the_cheapest_for_the_reward_is_served(tmp_path: Path) -> None:
    rng = random.Random(3)
    lines = [
        line(candidates([float(rng.random() < 0.5) for _ in range(16)]), f"{i}") for i in range(40)
    ]
    found = calibrated(write(tmp_path / "p.jsonl", lines))
    assert [row.name for row in found.rows] == ["single", "best_of_n n=16", "good_enough"]
    assert found.over_optimisation is None
    assert not found.with_gold
    settings = found.recommended.settings
    assert settings["type"] == "good_enough"
    assert settings["threshold"] == 1
    assert any(warning.startswith("No candidate has gold") for warning in found.warnings)
    assert any("have different rewards" in warning for warning in found.warnings)


def test_equal_rewards_choose_nothing(tmp_path: Path) -> None:
    drawn = candidates([1.0] * 4, golds=[0.0, 1.0, 0.0, 1.0], tokens=[5, 6, 7, 8])
    found = calibrated(write(tmp_path / "p.jsonl", [line(drawn, f"{i}") for i in range(8)]))
    assert "soft" not in rows(found)
    assert found.recommended.settings == {"type": "single"}
    told = "All candidates of each prompt have the same reward: it chooses nothing."
    assert told in found.warnings


def test_votes_need_to_know_where_the_answer_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", trusted(prompts=20, size=4))
    assert "majority_of_the_bests" not in rows(calibrated(path))
    voted = rows(calibrated(path, extract={"type": "exact"}))["majority_of_the_bests"]
    assert voted.settings["extract"] == {"type": "exact"}


def test_n_must_fit_the_pools(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", trusted(prompts=4, size=6))
    assert calibrated(path).n == 4
    assert calibrated(path, n=6).n == 6
    with pytest.raises(SettingsError, match="7 is above the 6 candidates of the smallest pool"):
        calibrated(path, n=7)


def test_requests_of_one_prompt_are_one_unit(tmp_path: Path) -> None:
    lines = trusted(prompts=10, size=4)
    found = calibrated(write(tmp_path / "p.jsonl", [*lines, *lines]))
    assert (found.requests, found.prompts) == (20, 10)


def test_several_served_models_are_said(tmp_path: Path) -> None:
    lines = [line(candidates([0.0, 1.0]), f"{i}", model="ab"[i % 2]) for i in range(4)]
    path = write(tmp_path / "p.jsonl", lines)
    found = calibrated(path)
    assert found.model == "a"
    assert found.warnings[0].startswith("The pools are of several served models (a, b)")
    assert calibrated(path, model="b").model == "b"
    assert "several" not in calibrated(path, model="b").warnings[0]


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    drawn = [
        candidate(0),
        candidate(1),
        candidate(2, status="rejected", message=None),
        candidate(3, status="invalid", message={"role": "assistant", "content": ""}),
    ]
    lines = [line(drawn, "a"), line(drawn, "b"), line([], "c"), line([candidate(0)], "d")]
    warnings = calibrated(write(tmp_path / "p.jsonl", lines)).warnings
    for told in (
        "2 prompts are few",
        "1 requests without a candidate to draw were left out.",
        "1 requests with fewer than 2 candidates with a reward were left out.",
        "2 candidates recorded as rejected were left out: they have no whole answer.",
        "Rejected candidates were the slow ones",
        "2 candidates recorded as invalid were left out",
    ):
        assert any(warning.startswith(told) for warning in warnings), told


@pytest.mark.parametrize(
    ("golds", "told"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], "No over-optimisation up to N = 6: the fitted gold only rises"),
        ([0.5, 0.62, 0.68, 0.715, 0.76], "the top lies beyond the pools"),
        ([0.5, 0.4, 0.3, 0.2, 0.1], "Gold falls from the first further candidate on"),
        ([0.5, 0.6, 0.6, 0.5, 0.4], "Gold is highest at N* = "),
    ],
)
def test_what_the_fit_says(golds: list[float], told: str) -> None:
    columns = [[gold - 0.1, gold + 0.1] for gold in golds]
    found = over_optimisation(columns, [1, 2, 3, 4, 6], Resamples(2, 100, 0.95, 0))
    assert found is not None
    assert told in found.told
    assert (found.best_n is not None) == told.startswith("Gold is highest")


def test_scales_of_rewards_by_name_are_measured(tmp_path: Path) -> None:
    drawn = [candidate(i, rewards={"a": float(i), "b": 10.0 - i}) for i in range(3)]
    invalid = candidate(3, rewards={"a": 99.0}, status="invalid")
    lines = [line([*drawn, invalid], f"prompt {number}") for number in range(3)]
    found = calibrated(write(tmp_path / "p.jsonl", lines))
    assert [*found.scales] == ["a", "b"]
    assert (found.scales["a"].mean, found.scales["b"].mean) == (1.0, 9.0)
    assert found.scales["a"].std == pytest.approx((2 / 3) ** 0.5)
    assert "# - {reward: b, mean: 9, std: 0.816497}\n" in fragment(found)
    assert [shown.title for shown in tables(found)][-1] == "Scales"
    assert yaml.safe_load(fragment(found)).keys() == {"models"}


def test_without_rewards_by_name_there_are_no_scales(hacked: Any) -> None:
    assert hacked.scales == {}
    assert "Scales" not in fragment(hacked)
