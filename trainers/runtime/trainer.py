"""The part of a run that must sit inside the trainer: order of data, checkpoints, sound losses.

A mixin for TRL's trainers, named first: `class _Sft(RunTrainer, SFTTrainer)`.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer

from trainers.base.errors import RunError
from trainers.runtime.checkpoints import Checkpoints
from trainers.runtime.order import EpochOrder, lengths_of


class RunTrainer(Trainer):
    """Give it to `run_trainer`, which sets what is None here."""

    checkpoints: Checkpoints | None = None
    run_settings: dict[str, Any] | None = None
    """What a checkpoint must be resumed with."""
    updates_per_batch = 1
    """A checkpoint may be written after a multiple of these updates."""
    stops_within_a_step = False
    """Whether a step may take so long that a signal ends it in its middle."""
    _writing = False

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        dataset = self.train_dataset if train_dataset is None else train_dataset
        batch = (
            self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size
        )
        return EpochOrder(
            lengths_of(dataset), batch, self.args.seed, lambda: int(self.state.epoch or 0)
        )

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self._require_finite("loss", float(loss))
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        # Checked before the update: weights that are not numbers must not reach a checkpoint.
        norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._require_finite("gradient norm", float(norm))
        return norm

    def load_checkpoint(self, checkpoint: Path) -> None:
        """Take a checkpoint's weights, and nothing else of it."""
        self._load_from_checkpoint(str(checkpoint))

    def save_checkpoint(self) -> None:
        """Write one now."""
        self._save_checkpoint(self.model, None)

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise RunError(
                f"step {self.state.global_step + 1}: the {name} is {value}; "
                "a lower learning_rate or more warmup_steps may help"
            )

    def _get_output_dir(self, trial: Any) -> str:
        if self._writing and self.checkpoints is not None:
            return str(self.checkpoints.begin())
        return str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        assert self.checkpoints is not None
        assert self.run_settings is not None
        step = self.state.global_step
        self._writing = True
        try:
            with self.checkpoints.errors(step):
                # Not TRL's version, which writes a model card of its own beside it.
                Trainer._save_checkpoint(self, model, trial)  # noqa: SLF001  # our own base
        finally:
            self._writing = False
        # Every process adds its random state; the folder is complete when all have.
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            self.checkpoints.finish(step, self.run_settings)
        self.accelerator.wait_for_everyone()
