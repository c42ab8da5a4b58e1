"""Two processes that torchrun starts share each update."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway.demo_models import policy_path
from tests.trainers.runtime.helpers import START, assert_equal_weights, largest_difference, logs
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardSettings
from trainers.settings import SftSettings, TrainSettings
from trainers.sft import train_sft

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
SHORT = {"batch_size": 4, "learning_rate": 2e-4, "log_every": 1, "accumulate": 2}

Make = Callable[..., Any]


@pytest.fixture
def make(world: Path, tmp_path: Path) -> Make:
    """``make(DpoSettings, "pairs", "out", max_steps=3)``"""

    def made(kind: type[TrainSettings], train: str, output: str, **changes: Any) -> Any:
        places = {"train": world / f"{train}.jsonl", "output": tmp_path / output}
        return kind.model_validate({"model": policy_path(), **SHORT, **places, **changes})

    return made


def start(command: str, run: TrainSettings, config: Path, *flags: str) -> str:
    config.write_text(yaml.safe_dump(run.model_dump(mode="json")), encoding="utf-8")
    call = [sys.executable, *TORCHRUN, "-m", "trainers", command, "--config", str(config), *flags]
    done = subprocess.run(call, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_same_course(one: Path, two: Path) -> None:
    for mine, theirs in zip(logs(one), logs(two), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-3)
    # Adam takes a gradient of rounding errors for one of full size; a whole step is 2e-4.
    assert largest_difference(one, two) < 5e-5


@pytest.mark.timeout(240)
def test_sft_in_two_processes_does_what_one_does_and_resumes(make: Make, tmp_path: Path) -> None:
    two = make(SftSettings, "sft", "two", max_steps=8, save_every=6)
    printed = start("sft", two, tmp_path / "sft.yaml")
    made_with = json.loads((two.output / "checkpoints/checkpoint-8/settings.json").read_text())
    assert made_with["processes"] == 2
    assert printed.count("updates: 8") == 1
    one = make(SftSettings, "sft", "one", max_steps=8)
    train_sft(one, START)
    assert_same_course(one.output, two.output)

    cut = make(SftSettings, "sft", "cut", max_steps=8, save_every=6)
    shutil.copytree(two.output, cut.output)
    shutil.rmtree(cut.output / "checkpoints" / "checkpoint-8")
    start("sft", cut, tmp_path / "sft.yaml", "--resume")
    assert_equal_weights(two.output, cut.output)
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 9))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("command", "kind", "train", "changes"),
    [
        ("reward", RewardSettings, train_reward, {"seeds": [3]}),
        ("dpo", DpoSettings, train_dpo, {"sft_first": {"learning_rate": 1e-3}}),
    ],
)
def test_two_processes_do_what_one_does(
    make: Make, tmp_path: Path, command: str, kind: Any, train: Any, changes: dict[str, Any]
) -> None:
    """With what such a run does in turns: members of an ensemble, SFT before DPO."""
    one, two = (make(kind, "pairs", name, max_steps=4, **changes) for name in ("one", "two"))
    printed = start(command, two, tmp_path / "run.yaml")
    assert printed.count("updates: 4") == 1
    train(one, START)
    parts = ("seed-3",) if command == "reward" else (".", "sft-first")
    for part in parts:
        assert_same_course(one.output / part, two.output / part)
