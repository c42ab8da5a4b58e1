"""What training took, read from what ``bon-train`` leaves in its output folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.settings import TrainingSettings

METRICS = "metrics.jsonl"
PPO_SECONDS = ("seconds of rollouts", "seconds of update")


def recorded_seconds(settings: TrainingSettings, name: str) -> float:
    """Of all records together. Raises SettingsError for one that has no seconds in it."""
    seconds = sum(_of_run(folder, f"training.{name}.records") for folder in settings.records)
    if settings.figures is not None:
        steps = _read(settings.figures, f"training.{name}.figures").get("seconds")
        for step in settings.steps:
            took = steps.get(step) if isinstance(steps, dict) else None
            if not isinstance(took, int | float):
                where = f"training.{name}.steps"
                raise SettingsError(str(settings.figures), where, f"has no step {step!r}")
            seconds += took
    return seconds


def _of_run(folder: Path, key: str) -> float:
    """PPO logs the seconds of each iteration; the other trainers end with those of the run, or of
    its last part where it was resumed."""
    path = folder / METRICS
    total, found = 0.0, False
    for line in _text(path, key).splitlines():
        try:
            entry: Any = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off by a kill
        for name in ("train_runtime", *PPO_SECONDS):
            if isinstance(entry, dict) and isinstance(entry.get(name), int | float):
                total += entry[name]
                found = True
    if not found:
        raise SettingsError(str(path), key, "has no seconds of training in it")
    return total


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        tree = json.loads(_text(path, key))
    except json.JSONDecodeError as error:
        raise SettingsError(str(path), key, f"not JSON: {error.msg}") from None
    return tree if isinstance(tree, dict) else {}


def _text(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(str(path), key, f"cannot be read: {error.strerror}") from None
