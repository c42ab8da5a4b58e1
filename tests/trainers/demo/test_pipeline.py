"""`bon-train demo-train` from end to end, on a world of a hundred records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainers.base.context import RunContext
from trainers.base.errors import RunError, SettingsError
from trainers.demo.pipeline import fresh, run_train
from trainers.demo.settings import DemoTrainSettings


def tiny(output: Path) -> DemoTrainSettings:
    return DemoTrainSettings.model_validate(
        {
            "output": output,
            "workers": 1,  # each imports the libraries anew
            "measure": {
                "curve_samples": 8,
                "judged_samples": 1,
                "pair_prompts": 20,
                "pairs_per_prompt": 1,
                "max_new_tokens": 12,
            },
            "steps": {
                "world": {
                    "train_prompts": 60,
                    "held_out_prompts": 8,
                    "sft_records": 64,
                    "pairs": 64,
                    "held_out_pairs": 40,
                },
                "sft": {"max_steps": 1},
                "reward": {"max_steps": 1},
                # A policy of one update ends no answer, so it gives no pairs of its own.
                "dpo": {"max_steps": 1, "train": str(output / "data" / "pairs.jsonl")},
                "ppo": {
                    "iterations": 1,
                    "prompts_per_iteration": 8,
                    "update": {"minibatch_size": 8, "micro_batch_size": 8, "epochs": 1},
                },
            },
        }
    )


@pytest.mark.timeout(400)
def test_from_nothing_to_a_report(tmp_path: Path) -> None:
    shown: list[str] = []
    output = tmp_path / "demo"
    figures = run_train(tiny(output), RunContext("bon-train demo-train", show=shown.append))
    for folder in ("policy", "reward", "dpo", "ppo"):
        assert (output / folder / "model.safetensors").is_file()
        assert (output / folder / "README.md").is_file()
    kept = json.loads((output / "figures.json").read_text())
    assert [row["n"] for row in kept["reward-quality"]["curve"]] == [1, 2, 4, 8]
    assert kept["judge-sft"]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert kept["judge-ppo"]["answers"] == 8
    assert len(kept["ppo-history"]) == 1
    assert set(kept["seconds"]) >= {"world", "sft", "reward", "dpo", "ppo", "judge-ppo"}
    assert figures["gold, dpo"] == kept["judge-dpo"]["gold"]
    # An untrained policy meets no goal, and the report says so.
    report = (output / "report.md").read_text()
    assert "| PPO, gold above SFT | at least 1.7 |" in report
    assert "0 of 1" in report
    assert any(line.endswith("NOT met") for line in shown)
    assert str(tmp_path) not in report


def test_a_new_folder_is_made_and_one_of_an_earlier_run_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    fresh(folder, overwrite=False)
    (folder / "policy").mkdir()
    (folder / "policy" / "old").touch()
    with pytest.raises(RunError, match="left by an earlier demo run; --overwrite"):
        fresh(folder, overwrite=False)
    assert (folder / "policy" / "old").exists()
    fresh(folder, overwrite=True)
    assert not (folder / "policy").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty"):
        fresh(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
