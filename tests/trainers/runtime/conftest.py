"""Settings of short runs on conversations of the demo world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.small import policy_path
from trainers.sft.settings import SftSettings

MakeSettings = Callable[..., SftSettings]


@pytest.fixture
def settings(world: Path, tmp_path: Path) -> MakeSettings:
    """Settings of a run of 10 updates, 6 to an epoch; `output` is a name in the test's folder."""

    def make(output: str = "out", **changes: object) -> SftSettings:
        values: dict[str, object] = {
            "model": policy_path(),
            "train": world / "sft.jsonl",
            "output": tmp_path / output,
            "batch_size": 4,
            "max_steps": 10,
            "learning_rate": 1e-3,
            "log_every": 1,
        }
        return SftSettings.model_validate(values | changes)

    return make
