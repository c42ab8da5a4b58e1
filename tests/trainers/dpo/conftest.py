"""Settings of short runs on pairs of the demo world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.small import policy_path
from trainers.dpo.settings import DpoSettings

MakeSettings = Callable[..., DpoSettings]


@pytest.fixture
def settings(world: Path, tmp_path: Path) -> MakeSettings:
    """Settings of a run of 10 updates, 6 to an epoch; `output` is a name in the test's folder."""

    def make(output: str = "out", **changes: object) -> DpoSettings:
        values: dict[str, object] = {
            "model": policy_path(),
            "train": world / "pairs.jsonl",
            "output": tmp_path / output,
            "batch_size": 4,
            "max_steps": 10,
            "learning_rate": 1e-3,
            "log_every": 1,
        }
        return DpoSettings.model_validate(values | changes)

    return make
