from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.base.errors import SettingsError
from trainers.base.settings import load_settings, shipped
from trainers.demo.settings import DemoStudySettings, DemoTrainSettings


def test_the_shipped_files_are_valid() -> None:
    assert load_settings(DemoTrainSettings, shipped("demo-train.yaml")).workers == 2
    assert load_settings(DemoStudySettings, shipped("demo-study.yaml")).seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps.pppo.iterations=3", "pppo: no such step; there are world"),
        ("measure.curve_samples=0", "measure.curve_samples"),
        ("seeds=[1, 1]", "seeds: each at most once"),
        ("seeds=[1]", "seeds"),
    ],
)
def test_bad_settings_name_the_key(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(DemoStudySettings, shipped("demo-study.yaml"), [override])


def test_a_wrong_key_of_a_step_names_the_step(tmp_path: Path) -> None:
    from trainers.demo.plan import Seed, steps_of
    from trainers.demo.settings import MeasureSettings

    changes = {"ppo": {"kl": {"betta": 1}}}
    with pytest.raises(SettingsError, match=r"steps\.ppo: .*kl\.betta"):
        steps_of(Seed(tmp_path, 0, MeasureSettings(), changes))


def test_changes_and_the_seed_reach_the_steps(tmp_path: Path) -> None:
    from trainers.demo.data import WeakPairs
    from trainers.demo.plan import Seed, steps_of
    from trainers.demo.settings import MeasureSettings

    changes: dict[str, Any] = {
        "ppo": {"kl": {"beta": 0.5}, "iterations": 3},
        "world": {"pairs": 10},
    }
    seed = Seed(tmp_path, 7, MeasureSettings(), changes, WeakPairs(300, 0.8), "7-")
    steps = {s.name: s for s in steps_of(seed)}
    ppo = steps["7-ppo"].arguments["settings"]
    assert (ppo.kl.beta, ppo.iterations, ppo.seed) == (0.5, 3, 7)
    assert ppo.reward == tmp_path / "reward"
    assert (steps["7-world"].arguments["settings"].pairs) == 10
    assert steps["7-sft"].arguments["settings"].seed == 7
    assert steps["7-hacked-ppo"].arguments["settings"].kl.beta == 0.0
    assert steps["7-hacked-ppo"].needs == ("7-weak-reward",)
