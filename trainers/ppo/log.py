"""`metrics.jsonl` and TensorBoard's files: one entry an iteration, the same figures in both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from trainers.base.files import disk_errors
from trainers.runtime.interrupts import held


class RunLog:
    """Keeps what a resumed run logged up to its checkpoint, drops later lines, and appends."""

    def __init__(self, folder: Path, done: int) -> None:
        """`done` iterations are in the checkpoint, 0 for a new run."""
        self._path = folder / "metrics.jsonl"
        self.history = _entries(self._path, done)
        """The entries so far, oldest first."""
        with disk_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            lines = "".join(json.dumps(entry) + "\n" for entry in self.history)
            self._path.write_text(lines, encoding="utf-8")
            if not done:  # curves of an earlier run of this name
                shutil.rmtree(folder / "tensorboard", ignore_errors=True)
            # TensorBoard hides what a killed run logged beyond the checkpoint.
            self._board = SummaryWriter(
                str(folder / "tensorboard"), purge_step=done + 1 if done else None
            )

    def write(self, iteration: int, figures: Mapping[str, float], alarms: list[str]) -> None:
        """Log an iteration, counted from 1, with the names of its alarms."""
        entry = {"iteration": iteration, **figures, "alarms": alarms}
        self.history.append(entry)
        with held(), disk_errors(str(self._path)):
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(entry) + "\n")
            for name, value in {**figures, "alarms": len(alarms)}.items():
                self._board.add_scalar(name, value, iteration)
            self._board.flush()

    def close(self) -> None:
        with held():
            self._board.close()


def _entries(path: Path, done: int) -> list[dict[str, Any]]:
    """The lines of the first `done` iterations, without one that a kill cut off."""
    if not done or not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            if entry["iteration"] <= done:
                entries.append(entry)
        except (ValueError, KeyError, TypeError):  # cut off, or of another command
            continue
    return entries
