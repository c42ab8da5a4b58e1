"""Settings of short runs in the demo world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.small import policy_path, reward_path
from trainers.iterate.settings import IterateSettings

MakeSettings = Callable[..., IterateSettings]


@pytest.fixture
def settings(world: Path, tmp_path: Path) -> MakeSettings:
    """Settings of a run of two rounds of 2 updates; `output` is a name in the test's folder."""

    def make(output: str = "out", **changes: object) -> IterateSettings:
        values: dict[str, object] = {
            "model": str(policy_path()),
            "reward": reward_path(),
            "prompts": world / "prompts.jsonl",
            "output": tmp_path / output,
            "rounds": 2,
            "prompts_per_round": 8,
            "samples": 3,
            "max_new_tokens": 32,
            "dpo": {"batch_size": 2, "max_steps": 4, "learning_rate": 1e-3, "log_every": 1},
        }
        return IterateSettings.model_validate(values | changes)

    return make
