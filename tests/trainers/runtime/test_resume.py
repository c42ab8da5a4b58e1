from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainers.runtime.conftest import MakeSettings
from tests.trainers.runtime.helpers import RESUME, START, assert_equal_weights, logs
from trainers.base.errors import RunError, SettingsError
from trainers.sft.run import train_sft

LORA = {"r": 4, "alpha": 8, "dropout": 0.2}

KILLED_WHILE_SAVING = """
import os, signal, sys
from transformers import Trainer
from trainers.cli import main

save_rng = Trainer._save_rng_state

def save_or_die(trainer, folder):
    if trainer.state.global_step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    save_rng(trainer, folder)

Trainer._save_rng_state = save_or_die
main(["sft", "--config", sys.argv[1]])
"""


def forget(output: Path, step: int) -> None:
    """Leave what a run leaves that died after the checkpoint before `step`."""
    shutil.rmtree(output / "checkpoints" / f"checkpoint-{step}")
    (output / "config.json").unlink()
    (output / "model.safetensors").unlink()


def checkpoints(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("every", "lora"),
    [
        pytest.param(5, None, id="within the first epoch"),
        pytest.param(6, None, id="at the end of an epoch"),
        pytest.param(8, LORA, id="in the second epoch, with dropout in an adapter"),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_cut(
    settings: MakeSettings, every: int, lora: object
) -> None:
    whole = settings("whole", save_every=every, lora=lora)
    figures = train_sft(whole, START)
    shutil.copytree(whole.output, settings("cut").output)
    cut = settings("cut", save_every=every, lora=lora)
    forget(cut.output, 10)
    assert checkpoints(cut.output) == [f"checkpoint-{every}"]
    resumed = train_sft(cut, RESUME)
    assert_equal_weights(whole.output, cut.output)
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 11))
    assert logs(cut.output)[-1]["loss"] == logs(whole.output)[-1]["loss"]
    assert resumed == pytest.approx(figures, rel=1e-6)


def test_a_run_killed_while_saving_resumes_from_the_checkpoint_before(
    settings: MakeSettings, tmp_path: Path
) -> None:
    cut = settings("cut", save_every=5)
    config = tmp_path / "sft.yaml"
    config.write_text(yaml.safe_dump(cut.model_dump(mode="json")), encoding="utf-8")
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(config)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoints(cut.output) == [".partial-checkpoint", "checkpoint-5"]
    assert list((cut.output / "checkpoints" / ".partial-checkpoint").rglob("*.safetensors"))
    assert logs(cut.output)[-1]["step"] == 10
    assert not (cut.output / "config.json").exists()

    train_sft(cut, RESUME)
    whole = settings("whole")
    train_sft(whole, START)
    assert_equal_weights(whole.output, cut.output)
    assert checkpoints(cut.output) == ["checkpoint-10", "checkpoint-5"]
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 11))


def test_old_checkpoints_go(settings: MakeSettings) -> None:
    run = settings(save_every=1, keep_checkpoints=2, max_steps=4)
    train_sft(run, START)
    assert checkpoints(run.output) == ["checkpoint-3", "checkpoint-4"]


def test_a_finished_run_resumes_to_the_same_end(settings: MakeSettings) -> None:
    run = settings(save_every=2, max_steps=4)
    figures = train_sft(run, START)
    first = run.output.rename(run.output.with_name("first"))
    shutil.copytree(first, run.output)
    assert train_sft(run, RESUME) == pytest.approx(figures, rel=1e-6)
    assert_equal_weights(first, run.output)


def test_resume_without_a_checkpoint_begins_at_the_start(settings: MakeSettings) -> None:
    run = settings(max_steps=2)
    assert train_sft(run, RESUME)["updates"] == 2


def test_checkpoints_are_neither_overwritten_nor_mixed(settings: MakeSettings) -> None:
    train_sft(settings(save_every=2, max_steps=4), START)
    with pytest.raises(RunError, match=r"checkpoint-4: left by an earlier run; --resume"):
        train_sft(settings(save_every=2, max_steps=4), START)
    other = settings(save_every=2, max_steps=4, learning_rate=0.5)
    with pytest.raises(
        SettingsError, match=r"learning_rate: 0\.5 cannot resume .*made with 0\.001"
    ):
        train_sft(other, RESUME)
    # What decides no number may change.
    train_sft(settings(save_every=3, max_steps=4, log_every=2), RESUME)


def test_tensorboard_has_the_curves(settings: MakeSettings) -> None:
    run = settings(max_steps=3)
    train_sft(run, START)
    events = EventAccumulator(str(run.output / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert written == [(entry["step"], pytest.approx(entry["loss"])) for entry in logs(run.output)]
