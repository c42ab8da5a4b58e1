"""What a run reports while it goes: `metrics.jsonl`, TensorBoard's files, the progress bar."""

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.base.files import disk_errors
from trainers.base.progress import make_bar
from trainers.runtime.interrupts import held


class MetricsFile(TrainerCallback):
    """Appends each log of the trainer to `metrics.jsonl`, one JSON object a line.

    Lines of steps after `resumed`, written by the run that is resumed, are dropped first: those
    steps are done again.
    """

    def __init__(self, path: Path, resumed: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _lines(path) if 0 < _step(line) <= resumed]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._path = path

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        with held(), disk_errors(str(self._path)), self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # cut off when the run was killed
        return 0


class TensorBoardFile(TrainerCallback):
    """Writes each number that is logged to TensorBoard's event files in `folder`."""

    def __init__(self, folder: Path, resumed: int = 0) -> None:
        if not resumed and folder.exists():  # curves of an earlier run of this name
            shutil.rmtree(folder)
        # TensorBoard hides what a killed run logged beyond the checkpoint.
        self._folder = folder
        purge = resumed + 1 if resumed else None
        self._writer = SummaryWriter(str(folder), purge_step=purge)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        with held(), disk_errors(str(self._folder)):
            for name, value in (logs or {}).items():
                self._writer.add_scalar(name, value, state.global_step)
            self._writer.flush()

    def close(self) -> None:
        with held():
            self._writer.close()


class ProgressBar(TrainerCallback):
    """Updates done, their rate, the time left and the last loss; nothing without a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """`stream` instead of stderr; what is no terminal is left alone."""
        self._progress = make_bar("updates", stream)
        self._task = self._progress.add_task("training", total=None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._progress.update(self._task, total=state.max_steps, completed=state.global_step)
        self._progress.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._progress.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None:
            self._progress.update(self._task, description=f"loss {loss:.4g}")

    def close(self) -> None:
        self._progress.stop()
