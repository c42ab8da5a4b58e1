"""The report of made-up figures: what is in the tables, and that each picture is one."""

from __future__ import annotations

import copy
import random
import xml.etree.ElementTree as ET
from math import log
from pathlib import Path
from typing import Any

import pytest

from trainers.demo.outcome import goals, write_figures
from trainers.demo.report import write_page


def history(bad: bool) -> list[dict[str, Any]]:
    return [
        {
            "iteration": i + 1,
            "reward": 0.1 * i,
            "gold": float(min(i, 10 - i) if bad else i),
            "kl to reference": 0.2 * i,
            "eos rate": 1.0,
            "alarms": ["kl"] if bad and i > 3 else [],
        }
        for i in range(10)
    ]


def figures(seed: int, weak: bool) -> dict[str, Any]:
    shift = random.Random(seed).random() / 10
    curve = [
        {"n": n, "gold": shift + log(n), "reward": log(n), "oracle": 2 * log(n)}
        for n in (1, 2, 4, 8)
    ]
    quality = {
        "accuracy": 0.85,
        "accuracy_wide_gap": 0.89 + shift / 5,
        "calibration_error": 0.02,
        "by_gap": [{"low": low, "accuracy": 0.8, "pairs": 5} for low in (0.0, 1.0)],
        "calibration": [{"predicted": 0.5, "true": 0.5, "pairs": 5}],
        "curve": curve,
    }

    def judged(gold: float, kl: float) -> dict[str, float]:
        return {"gold": gold, "kl": kl, "tokens": 17.0, "eos_rate": 1.0}

    found = {
        "reward-quality": quality,
        "judge-sft": judged(shift, 0.0),
        "judge-dpo": judged(1.5 + shift, 3.0),
        "judge-ppo": judged(2.5 + shift, 7.0),
        "ppo-history": history(bad=False),
    }
    if weak:
        found["weak-reward-quality"] = quality
        found["judge-hacked-ppo"] = judged(0.0, 30.0)
        found["hacked-ppo-history"] = history(bad=True)
    return found


@pytest.mark.parametrize(("seeds", "weak", "pictures"), [(1, False, 5), (3, True, 7)])
def test_the_page_shows_every_picture(
    tmp_path: Path, seeds: int, weak: bool, pictures: int
) -> None:
    page = tmp_path / "page.md"
    data = [figures(seed, weak) for seed in range(seeds)]
    write_page(data, "Title", "make it", page, tmp_path / "plots", "Notes.")
    text = page.read_text()
    drawn = sorted((tmp_path / "plots").glob("*.svg"))
    assert len(drawn) == pictures
    for path in drawn:
        assert f"](plots/{path.name})" in text
        assert ET.parse(path).getroot().tag.endswith("svg")
    assert ("Over-optimisation" in text) == weak


def test_the_same_figures_give_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        page = tmp_path / name / "page.md"
        write_page([figures(0, True)], "T", "make it", page, tmp_path / name / "plots", "")
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_goals_are_told_as_they_are() -> None:
    found = {goal.text: (round(goal.value, 3), goal.met) for goal in goals(figures(0, False))}
    assert found["reward model, accuracy on gold pairs"] == (0.85, True)
    assert found["DPO, gold above SFT"] == (1.5, True)
    assert found["PPO, gold above SFT"] == (2.5, True)
    assert found["PPO, KL to SFT in nats an answer"] == (7.0, False)
    assert found["PPO, gold above best-of-8"] == (round(2.5 - log(8), 3), True)


def test_a_goal_that_a_seed_misses_is_counted(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_page([figures(s, False) for s in range(2)], "T", "m", page, tmp_path / "plots", "")
    (line,) = [row for row in page.read_text().splitlines() if row.startswith("| PPO, KL")]
    assert line.endswith("| at most 6 | 7.000 ± 0.000 | 0 of 2 |")


def test_over_optimisation_is_counted_by_run(tmp_path: Path) -> None:
    runs = [figures(seed, True) for seed in range(3)]
    turned = copy.deepcopy(runs[0]["weak-reward-quality"])
    turned["curve"][-1]["gold"] = 0.5
    runs[0]["weak-reward-quality"] = turned
    runs[1]["hacked-ppo-history"] = [{**row, "alarms": []} for row in history(bad=True)]
    runs[2]["hacked-ppo-history"] = history(bad=False)
    page = tmp_path / "page.md"
    write_page(runs, "T", "m", page, tmp_path / "plots", "")
    text = page.read_text()
    assert "has less gold than a smaller n in 1 of 3 runs." in text
    assert (
        "lost a tenth of its peak gold in 2 of 3; an alarm came before that in 1 of these 2."
        in text
    )


def test_figures_are_kept_as_json(tmp_path: Path) -> None:
    import json

    data = {"curve": [1.5, -2, 3e-05], "name": "x"}
    write_figures(tmp_path / "f.json", data)
    assert json.loads((tmp_path / "f.json").read_text()) == data
