"""Two processes that torchrun starts share each update."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.runtime import several
from tests.trainers.runtime.helpers import START, assert_equal_weights, largest_difference, logs
from tests.trainers.small import policy_path
from trainers.base.settings import TrainSettings
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

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


def config(command: str, run: TrainSettings) -> str:
    """The command line of a run."""
    path = run.output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(run.model_dump(mode="json")), encoding="utf-8")
    return shlex.join([command, "--config", str(path)])


def start(*commands: str) -> str:
    """Two processes do them all, one after another; what is printed."""
    call = [sys.executable, *TORCHRUN, str(Path(several.__file__)), *commands]
    done = subprocess.run(call, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_same_course(one: Path, two: Path) -> None:
    for mine, theirs in zip(logs(one), logs(two), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-3)
    # Adam takes a gradient of rounding errors for one of full size; a whole step is 2e-4.
    assert largest_difference(one, two) < 5e-5


@pytest.mark.timeout(300)
def test_two_processes_do_what_one_does_and_resume(make: Make, tmp_path: Path) -> None:
    """With what a run does in turns: members of an ensemble, SFT before DPO."""
    sft = {"max_steps": 8, "save_every": 6}
    reward = {"max_steps": 4, "seeds": [3]}
    dpo = {"max_steps": 4, "sft_first": {"learning_rate": 1e-3}}
    two = make(SftSettings, "sft", "two", **sft)
    two_reward = make(RewardTrainSettings, "pairs", "two-reward", **reward)
    two_dpo = make(DpoSettings, "pairs", "two-dpo", **dpo)
    cut = make(SftSettings, "sft", "cut", **sft)
    printed = start(
        config("sft", two),
        config("reward", two_reward),
        config("dpo", two_dpo),
        f"cut {two.output} {cut.output}",
        f"{config('sft', cut)} --resume",
    )
    made_with = json.loads((two.output / "checkpoints/checkpoint-8/settings.json").read_text())
    assert made_with["processes"] == 2
    # Once from the two, for each of them.
    assert re.findall(r"updates: (\d+)", printed) == ["8", "4", "4", "8"]

    one = make(SftSettings, "sft", "one", **sft)
    one_reward = make(RewardTrainSettings, "pairs", "one-reward", **reward)
    one_dpo = make(DpoSettings, "pairs", "one-dpo", **dpo)
    train_sft(one, START)
    train_reward(one_reward, START)
    train_dpo(one_dpo, START)
    assert_same_course(one.output, two.output)
    assert_same_course(one_reward.output / "seed-3", two_reward.output / "seed-3")
    for part in (".", "sft-first"):
        assert_same_course(one_dpo.output / part, two_dpo.output / part)

    assert_equal_weights(two.output, cut.output)
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 9))
