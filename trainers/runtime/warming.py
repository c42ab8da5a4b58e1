"""Says before a run that its warm-up is longer than the run itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class WarmUpNote(TrainerCallback):
    """A few records, and the settings of a large run, give updates that change next to nothing: the
    rate begins at 0, and reaches the one that was asked for after `warmup_steps`."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        warm_up = int(args.warmup_steps)
        if warm_up < state.max_steps:
            return
        highest = args.learning_rate * max(0, state.max_steps - 1) / max(1, warm_up)
        self._show(
            f"note: the run ends in its warm-up: warmup_steps is {warm_up}, and there are "
            f"{state.max_steps} updates, so the learning rate gets to {highest:.2g} and never to "
            f"{args.learning_rate:.2g}; lower warmup_steps or batch_size, or raise epochs"
        )
