"""LoRA: train two thin matrices beside each large one (Hu et al. 2021, arXiv:2106.09685)."""

from collections.abc import Sequence
from typing import Any, Literal

from peft import LoraConfig, PeftModel, TaskType

from trainers.base.settings import LoraSettings
from trainers.runtime.quantized import is_quantized, merged_into_float

Task = Literal["CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS"]


def lora_config(
    settings: LoraSettings | None, task: Task, whole: Sequence[str] = ()
) -> LoraConfig | None:
    """The adapter to train, or None for a run that trains all weights.

    The modules in `whole` get no adapter; they are trained as they are and kept with it.
    """
    if settings is None:
        return None
    targets = settings.target_modules
    return LoraConfig(
        task_type=TaskType[task],
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(whole) or None,
    )


def merged(model: Any) -> Any:
    """The whole model with its adapter added to the weights; a model without one as it is.

    The adapter is gone from `model` afterwards: save it first.
    """
    if not isinstance(model, PeftModel):
        return model
    if is_quantized(model):
        return merged_into_float(model)
    return model.merge_and_unload()
