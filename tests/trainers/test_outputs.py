"""An output that exists is refused or resumed, and replaced with --overwrite alone; a command ends
with what it wrote and the command that may come next."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.commands import SHORT, TRAINING, output_of
from trainers.cli import main
from trainers.commands import COMMANDS
from trainers.rewards.ensemble import read_ensemble

FEW: dict[str, dict[str, Any]] = {
    **{name: {"max_steps": 1} for name in ("sft", "reward", "dpo", "grpo")},
    "ppo": {"iterations": 1},
    "iterate": {"dpo": {"batch_size": 2, "max_steps": 1}},
}
GO_ON = ("collect", "label")
"""They go on with their output, so the same command changes nothing."""


def written(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def config(command: str, world: Path, folder: Path) -> Path:
    path = folder / f"{command}.yaml"
    values = SHORT[command](world) | FEW.get(command, {})
    path.write_text(yaml.safe_dump(values | {"output": str(folder / "made" / output_of(command))}))
    return path


@pytest.mark.parametrize("command", SHORT)
def test_an_output_that_exists(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = [command, "--config", str(config(command, world, tmp_path))]
    output = tmp_path / "made" / output_of(command)
    assert main(start) == 0
    out = capsys.readouterr().out
    if command != "export":  # it names the command for its kind of model
        assert "\nwrote: " in out
        assert "\nnext:  " in out
    assert str(output) in out.partition("\nwrote: ")[2]
    first = written(tmp_path / "made")
    if command in GO_ON:
        assert main(start) == 0
        again = written(tmp_path / "made")
        assert {k: v for k, v in again.items() if "report" not in k} == {
            k: v for k, v in first.items() if "report" not in k
        }
    else:
        assert main(start) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"bon-train: {tmp_path / 'made'}")
        assert "--overwrite" in error
        assert written(tmp_path / "made") == first
    assert main([*start, "--overwrite"]) == 0


def test_every_command_is_tried_here() -> None:
    assert {*SHORT, "demo-train", "demo-study"} == set(COMMANDS)


@pytest.mark.parametrize("command", TRAINING)
def test_a_start_that_is_the_output_is_refused(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--overwrite would remove the model before it is read."""
    path = config(command, world, tmp_path)
    same = ("--set", f"output={SHORT[command](world)['model']}")
    assert main([command, "--config", str(path), "--overwrite", *same]) == 2
    assert "is an input, and would be overwritten" in capsys.readouterr().err


def test_what_others_left_in_the_folder_stays(world: Path, tmp_path: Path) -> None:
    made = tmp_path / "made" / "out"
    made.mkdir(parents=True)
    (made / "notes.txt").write_text("mine")
    start = ["sft", "--config", str(config("sft", world, tmp_path))]
    assert main(start) == 0
    assert main([*start, "--overwrite"]) == 0
    assert (made / "notes.txt").read_text() == "mine"


def test_an_ensemble_and_a_single_model_take_each_others_place(world: Path, tmp_path: Path) -> None:
    start = ["reward", "--config", str(config("reward", world, tmp_path)), "--overwrite"]
    output = tmp_path / "made" / "out"
    assert main([*start, "--set", "seeds=[0, 1]"]) == 0
    assert read_ensemble(output) == ("seed-0", "seed-1")
    assert main(start) == 0
    assert read_ensemble(output) is None
    assert (output / "config.json").exists()
    assert main([*start, "--set", "seeds=[0, 1]"]) == 0
    assert read_ensemble(output) == ("seed-0", "seed-1")
    assert not (output / "config.json").exists()


def test_held_out_records_of_an_earlier_run_do_not_stay(world: Path, tmp_path: Path) -> None:
    start = ["prepare", "--config", str(config("prepare", world, tmp_path))]
    assert main(start) == 0
    assert (tmp_path / "made" / "out" / "held-out.jsonl").exists()
    assert main([*start, "--overwrite", "--set", "held_out_share=0"]) == 0
    assert not (tmp_path / "made" / "out" / "held-out.jsonl").exists()


def test_labels_that_a_person_edited_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the journal, nothing says that the file can be made again."""
    start = ["label", "--config", str(config("label", world, tmp_path))]
    assert main(start) == 0
    (tmp_path / "made" / "out.labels.jsonl").unlink()
    assert main(start) == 2
    assert "out.jsonl: already there; --overwrite replaces it" in capsys.readouterr().err


def test_a_label_run_that_writes_nothing_exits_with_1(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["label", "--config", str(config("label", world, tmp_path))]
    assert main([*start, "--set", "min_margin=1000"]) == 1
    error = capsys.readouterr().err
    assert "out.jsonl: no preference is left to write: 2" in error
    assert not (tmp_path / "made" / "out.jsonl").exists()
    assert (tmp_path / "made" / "out.report.json").exists()
    assert main(start) == 0  # the labels were kept


@pytest.mark.parametrize("command", COMMANDS)
def test_the_settings_can_be_shown(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From the file, the environment and flags; nothing is written."""
    values = SHORT[command](world) if command in SHORT else {}
    path = tmp_path / "some.yaml"
    path.write_text(yaml.safe_dump(values))
    monkeypatch.setenv("BON_TRAIN__OUTPUT", str(tmp_path / "by-environment"))
    assert main([command, "--config", str(path), "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["output"] == str(tmp_path / "by-environment")
    assert set(shown) == set(COMMANDS[command].settings.model_fields)
    flags = ["--set", f"output={tmp_path / 'by-flag'}", "--print-config"]
    assert main([command, "--config", str(path), *flags]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["output"] == str(tmp_path / "by-flag")
    assert [one.name for one in tmp_path.iterdir()] == ["some.yaml"]


def test_no_file_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--set", "model=a", "--set", "train=b.jsonl", "--set", "output=c", "--print-config"]
    assert main(["sft", *flags]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["train"] == "b.jsonl"
    assert main(["sft", "--set", "model=a", "--print-config"]) == 2
    assert capsys.readouterr().err == "bon-train: settings: train: is required\n"


def test_the_demo_shows_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(tmp_path / "demo"), "--set", "sft.epochs=7"]
    assert main(["demo", *output, "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["sft"]["epochs"] == 7
    assert set(shown) == {"world", "sft", "reward", "evaluate"}
    assert not (tmp_path / "demo").exists()
