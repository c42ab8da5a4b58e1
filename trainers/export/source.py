"""What is exported: a policy or a reward model, whole or as an adapter on its base."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peft import PeftModel
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained, load_tokenizer
from trainers.export.settings import ExportSettings
from trainers.rewards.ensemble import refuse_ensemble

Kind = Literal["policy", "reward model"]
ADAPTER_CONFIG = "adapter_config.json"
CLASSES: dict[Kind, Any] = {
    "policy": AutoModelForCausalLM,
    "reward model": AutoModelForSequenceClassification,
}
TASKS: dict[str, Kind] = {"CAUSAL_LM": "policy", "SEQ_CLS": "reward model"}
HEADS: dict[str, Kind] = {
    "ForCausalLM": "policy",
    "ForSequenceClassification": "reward model",
}


@dataclass(frozen=True)
class ExportSource:
    kind: Kind
    model: Any
    """In float32; a `PeftModel` if it is an adapter, not yet merged."""
    tokenizer: Any


def load_source(settings: ExportSettings) -> ExportSource:
    """Load the model to export; ModelError if it is neither policy nor reward model."""
    refuse_ensemble(settings.model, "what is exported")
    adapter = _adapter(settings.model)
    if adapter is None:
        kind = _kind(settings.model, settings.revision)
        model = _whole(kind, settings.model, settings.revision)
    else:
        kind, model = _adapted(settings, adapter)
    tokenizer: Any = load_tokenizer(settings.model, settings.revision, need_template=False)
    if adapter is not None:
        # An adapter has no configuration of its own; padding was set when it was trained.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return ExportSource(kind, model.eval(), tokenizer)


def _adapter(model: str) -> dict[str, Any] | None:
    path = Path(model) / ADAPTER_CONFIG
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: broken JSON: {error}") from error
    return values


def _kind(model: str, revision: str | None) -> Kind:
    config: Any = load_pretrained(AutoConfig, model, revision, dtype=None)
    for architecture in config.architectures or ():
        for ending, kind in HEADS.items():
            if architecture.endswith(ending):
                return kind
    raise ModelError(
        f"{model}: {', '.join(config.architectures or ['no architecture'])} is neither a policy "
        "(ForCausalLM) nor a reward model (ForSequenceClassification)"
    )


def _adapted(settings: ExportSettings, adapter: dict[str, Any]) -> tuple[Kind, Any]:
    task = str(adapter.get("task_type"))
    if task not in TASKS:
        raise ModelError(f"{settings.model}: an adapter for {task}, not {' or '.join(TASKS)}")
    named = settings.base or adapter.get("base_model_name_or_path")
    if not named:
        raise ModelError(f"{settings.model}: the adapter does not name its model: set base")
    kind = TASKS[task]
    options: dict[str, Any] = {}
    if kind == "reward model":
        options["num_labels"] = _outputs(Path(settings.model))
        if options["num_labels"] > 1:
            raise ModelError(
                f"{settings.model}: an adapter does not name its several outputs; "
                "export the merged folder that it lies in"
            )
    base = _whole(kind, str(named), settings.base_revision, may_lack_head=True, **options)
    try:
        return kind, PeftModel.from_pretrained(base, settings.model)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{settings.model}: no adapter for {named}: {reason}") from error


def _outputs(adapter: Path) -> int:
    """How many numbers an adapter's reward head gives; ModelError if it brings no head."""
    path = adapter / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118  # it is no mapping
                if name.endswith(("score.weight", "classifier.weight", "out_proj.weight")):
                    return int(weights.get_slice(name).get_shape()[0])
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: {error}") from error
    raise ModelError(
        f"{adapter}: the adapter brings no reward head (train it with modules_to_save: score)"
    )


def _whole(
    kind: Kind, model: str, revision: str | None, *, may_lack_head: bool = False, **options: Any
) -> Any:
    loaded, info = load_pretrained(
        CLASSES[kind], model, revision, output_loading_info=True, **options
    )
    missing = sorted(info["missing_keys"])
    if may_lack_head:
        inner = f"{loaded.base_model_prefix}."
        missing = [name for name in missing if name.startswith(inner)]
    # What is missing would be drawn at random.
    if missing:
        raise ModelError(f"{model}: the weights lack {', '.join(missing[:3])}")
    return loaded
