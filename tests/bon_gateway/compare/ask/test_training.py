from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.training import recorded_seconds
from bon_gateway.compare.settings import TrainingSettings


def folder(path: Path, *lines: Any) -> Path:
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_seconds_of_trainers(tmp_path: Path) -> None:
    sft = folder(tmp_path / "sft", {"step": 1, "loss": 2.0}, {"step": 2, "train_runtime": 12.5})
    ppo = folder(
        tmp_path / "ppo",
        {"iteration": 1, "seconds of rollouts": 3.0, "seconds of update": 1.0},
        {"iteration": 2, "seconds of rollouts": 4.0, "seconds of update": 1.5},
    )
    with (ppo / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 3, "seconds of ro')
    assert recorded_seconds(TrainingSettings(records=(sft, ppo), hour=1.0), "t") == 22.0


def test_seconds_of_the_demo(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"seconds": {"pairs": 20.0, "dpo": 150.5, "ppo": 90}}))
    settings = TrainingSettings(figures=figures, steps=("pairs", "dpo"), hour=1.0)
    assert recorded_seconds(settings, "t") == 170.5


def test_what_has_no_seconds_is_said(tmp_path: Path) -> None:
    empty = folder(tmp_path / "x", {"step": 1})
    with pytest.raises(SettingsError, match=r"training\.t\.records: has no seconds of training"):
        recorded_seconds(TrainingSettings(records=(empty,), hour=1.0), "t")
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        recorded_seconds(TrainingSettings(records=(tmp_path / "y",), hour=1.0), "t")
    figures = tmp_path / "figures.json"
    figures.write_text("{}")
    with pytest.raises(SettingsError, match=r"training\.t\.steps: has no step 'dpo'"):
        recorded_seconds(TrainingSettings(figures=figures, steps=("dpo",), hour=1.0), "t")
