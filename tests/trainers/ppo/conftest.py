"""Settings of short runs on the tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainers.ppo.settings import PpoSettings


@pytest.fixture
def values(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run that takes a second."""
    return {
        "model": str(tiny / "policy"),
        "reward": str(tiny / "reward"),
        "prompts": str(tiny / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "iterations": 2,
        "prompts_per_iteration": 8,
        "sampling": {"max_new_tokens": 6},
        "update": {"minibatch_size": 4, "micro_batch_size": 4, "epochs": 2, "learning_rate": 1e-3},
        "device": "cpu",
    }


@pytest.fixture
def settings(values: dict[str, Any]) -> PpoSettings:
    return PpoSettings.model_validate(values)


@pytest.fixture
def write(values: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the YAML of a run with some settings changed."""

    def written(**changes: Any) -> Path:
        path = tmp_path / "ppo.yaml"
        path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
        return path

    return written
