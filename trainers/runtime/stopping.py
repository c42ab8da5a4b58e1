"""Ends a run with a checkpoint once a signal has asked for it: after the update that it is in, or,
where an update takes long, in its middle with the state before it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.runtime.trainer import RunTrainer


class StopWhenAsked(TrainerCallback):
    """Looks at the signals after each update."""

    def __init__(self, trainer: RunTrainer, signals: Sequence[int]) -> None:
        """`signals` grows as they come."""
        self._trainer = trainer
        self._signals = signals
        self.stopped = False
        """A signal has ended the run, be it another process's."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self._trainer.updates_per_batch or not self._asked():
            return
        control.should_save = True
        control.should_training_stop = True
        self.stopped = True

    def _asked(self) -> bool:
        """Whether a signal reached any process. All must stop after the same update: one that goes
        on alone would wait for the others forever."""
        if self._trainer.args.world_size == 1:
            return bool(self._signals)
        accelerator = self._trainer.accelerator
        own = torch.tensor(float(bool(self._signals)), device=accelerator.device)
        return bool(accelerator.reduce(own, "sum") > 0)


class StepStopAskedError(Exception):
    """Ends a step in its middle; `run_trainer` goes back to the state before it."""


class StopWithinStep(TrainerCallback):
    """Looks at the signals whenever the model computes, in a run of one process: several would wait
    for the one that has left the step."""

    def __init__(self, trainer: RunTrainer, signals: Sequence[int]) -> None:
        self._trainer = trainer
        self._signals = signals
        self._random: Callable[[], None] | None = None
        model: Any = trainer.model
        # Adapters, generation and training come through here, whichever module they call.
        self._hook = model.get_input_embeddings().register_forward_pre_hook(self._look)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._random = random_state()

    def _look(self, module: torch.nn.Module, inputs: Any) -> None:
        # Weights change at the end of a step alone.
        whole = self._trainer.state.global_step % self._trainer.updates_per_batch == 0
        if self._signals and whole:
            raise StepStopAskedError

    def save(self) -> None:
        """Write the state before the step, unless it is on the disk already."""
        self._hook.remove()
        checkpoints, step = self._trainer.checkpoints, self._trainer.state.global_step
        assert checkpoints is not None
        if self._random is None or step in checkpoints.steps():
            return
        self._random()
        self._trainer.save_checkpoint()


def random_state() -> Callable[[], None]:
    """Puts all random numbers back to where they are now."""
    own, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def back() -> None:
        random.setstate(own)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    return back
