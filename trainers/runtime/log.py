"""What a run reports while it goes: `metrics.jsonl`, TensorBoard's files, the progress bar."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.base.files import disk_errors
from trainers.base.progress import PAUSE_S, make_bar
from trainers.runtime.interrupts import held


class RunLog:
    """Writes the same figures to `metrics.jsonl`, an entry a line, and to TensorBoard's files."""

    def __init__(self, folder: Path, count: str, done: int) -> None:
        """`count` is the field that numbers the entries: `step` or `iteration`.

        A resumed run, `done` of whose entries are in the checkpoint, appends to those; what the
        killed run logged after it is dropped, since that is done again. 0 begins anew. Raises
        RunError if the disk is full.
        """
        self._count, self._path = count, folder / "metrics.jsonl"
        self.history = _entries(self._path, count, done)
        """The entries so far, oldest first."""
        with disk_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            lines = "".join(json.dumps(entry) + "\n" for entry in self.history)
            self._path.write_text(lines, encoding="utf-8")
            board = folder / "tensorboard"
            if not done and board.exists():  # curves of an earlier run of this name
                shutil.rmtree(board)
            # TensorBoard hides what a killed run logged beyond the checkpoint.
            self._board = SummaryWriter(str(board), purge_step=done + 1 if done else None)

    def write(self, number: int, figures: Mapping[str, float | list[str]]) -> None:
        """Log entry `number`, counted from 1; TensorBoard gets the length of a list."""
        entry = {self._count: number, **figures}
        self.history.append(entry)
        with held(), disk_errors(str(self._path)):
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(entry) + "\n")
            for name, value in figures.items():
                curve = len(value) if isinstance(value, list) else value
                self._board.add_scalar(name, curve, number)
            self._board.flush()

    def close(self) -> None:
        with held():
            self._board.close()


def _entries(path: Path, count: str, done: int) -> list[dict[str, Any]]:
    """The first `done` entries; a line that was cut off by a kill is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            if 0 < entry[count] <= done:
                entries.append(entry)
        except (ValueError, KeyError, TypeError):  # cut off, or of another command
            continue
    return entries


class Reports(TrainerCallback):
    """Logs what TRL's trainer logs, and shows updates done, their rate, the time left and the last
    loss: in a bar, or without a terminal in a line now and then."""

    def __init__(
        self, log: RunLog, stream: TextIO | None = None, *, pause_s: float = PAUSE_S
    ) -> None:
        """The bar goes to `stream`, stderr unless given."""
        self._log = log
        self._bar = make_bar("updates", stream, pause_s=pause_s)
        self._task = self._bar.add_task("training", total=None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        figures = logs or {}
        self._log.write(state.global_step, figures)
        if "loss" in figures:
            self._bar.update(self._task, description=f"loss {figures['loss']:.4g}")

    def close(self) -> None:
        self._bar.stop()
        self._log.close()
