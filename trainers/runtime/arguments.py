"""From settings to the arguments that TRL's configs have in common.

TRL would default to bfloat16 and gradient checkpointing, which a CPU runs slowly and small models
do not need; here both are off unless the settings ask for them.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from trainers.base.errors import SettingsError
from trainers.base.settings import TrainSettings

if TYPE_CHECKING:
    import torch

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints, within that of the run."""


def common_arguments(settings: TrainSettings) -> dict[str, Any]:
    """The fields of a TRL config that follow from the settings of any run.

    Raises SettingsError if `batch_size` cannot be shared evenly among processes and passes.
    """
    import torch  # here, because the command line asks this module for `is_main_process`

    return {
        # Without it, processes that `torchrun` starts on CPUs would not find each other.
        "use_cpu": not torch.accelerator.is_available(),
        "output_dir": str(settings.output / CHECKPOINTS),
        "seed": settings.seed,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": per_device_batch(settings),
        "gradient_accumulation_steps": settings.accumulate,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        # Length is checked before training, where drops are counted; TRL would cut or drop quietly.
        "max_length": None,
        "logging_steps": settings.log_every,
        # A loss that is not finite ends the run; the filter would log an earlier one in its place.
        "logging_nan_inf_filter": False,
        # Weights are float32 in both; layers compute under torch's autocast.
        "bf16": settings.dtype == "bfloat16",
        "gradient_checkpointing": settings.gradient_checkpointing,
        # Batches of like length: on short chat turns, half of a random batch would be padding.
        "train_sampling_strategy": "group_by_length",
        "save_strategy": "no" if settings.save_every is None else "steps",
        "save_steps": settings.save_every or 1,
        # Old checkpoints are removed by `trainers.runtime.checkpoints`.
        "save_total_limit": None,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def autocast(dtype: str, device: "torch.device") -> AbstractContextManager[Any]:
    """Layers compute as TRL's trainers have them compute under this `dtype`."""
    if dtype == "float32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, getattr(torch, dtype))


def per_device_batch(settings: TrainSettings) -> int:
    """Records that one process takes in one forward pass."""
    shares = settings.accumulate * processes()
    if settings.batch_size % shares:
        raise SettingsError(
            f"batch_size: {settings.batch_size} records cannot be shared evenly among "
            f"{processes()} process(es) of accumulate {settings.accumulate} passes"
        )
    return settings.batch_size // shares


def processes() -> int:
    """How many processes train together, as `torchrun` and `accelerate launch` announce it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes the files; the others only compute."""
    return os.environ.get("RANK", "0") == "0"
