"""Ends a run after the update that it is in, with a checkpoint, once a signal has asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.runtime.trainer import RunTrainer


class StopWhenAsked(TrainerCallback):
    """Looks at the signals after each update."""

    def __init__(self, trainer: RunTrainer, signals: Sequence[int]) -> None:
        """`signals` grows as they come."""
        self._trainer = trainer
        self._signals = signals

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self._trainer.updates_per_batch or not self._asked():
            return
        control.should_save = True
        control.should_training_stop = True

    def _asked(self) -> bool:
        """Whether a signal reached any process. All must stop after the same update: one that goes
        on alone would wait for the others forever."""
        if self._trainer.args.world_size == 1:
            return bool(self._signals)
        accelerator = self._trainer.accelerator
        own = torch.tensor(float(bool(self._signals)), device=accelerator.device)
        return bool(accelerator.reduce(own, "sum") > 0)
