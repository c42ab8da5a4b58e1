"""How long training took, from the files in ``bon-train``'s output folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import read_text
from bon_gateway.compare.settings import TrainingSettings

METRICS = "metrics.jsonl"
PPO_SECONDS = ("seconds of rollouts", "seconds of update")


def recorded_seconds(settings: TrainingSettings, name: str) -> float:
    """The seconds of all records together. Raises SettingsError for a record without any."""
    seconds = sum(_of_run(folder, f"training.{name}.records") for folder in settings.records)
    if settings.figures is not None:
        key = f"training.{name}.figures"
        try:
            tree = json.loads(read_text(settings.figures, key))
        except json.JSONDecodeError as error:
            raise SettingsError(str(settings.figures), key, f"not JSON: {error.msg}") from None
        steps = tree.get("seconds") if isinstance(tree, dict) else None
        for step in settings.steps:
            took = steps.get(step) if isinstance(steps, dict) else None
            if not isinstance(took, int | float):
                where = f"training.{name}.steps"
                raise SettingsError(str(settings.figures), where, f"has no step {step!r}")
            seconds += took
    return seconds


def _of_run(folder: Path, key: str) -> float:
    """PPO logs the seconds of each iteration. The other trainers log those of the run at its end,
    or of its last part if it was resumed."""
    path = folder / METRICS
    total, found = 0.0, False
    for line in read_text(path, key).splitlines():
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
