"""What is exported: a policy or a reward model, whole or as an adapter on its base."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from trainers.base.adapters import Adapter, find_adapter
from trainers.base.errors import ModelError
from trainers.base.loading import load_adapted, load_config, load_pretrained, load_tokenizer
from trainers.export.settings import ExportSettings
from trainers.rewards.ensemble import refuse_ensemble

Kind = Literal["policy", "reward model"]
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
    adapter = find_adapter(settings.model, settings.revision)
    if adapter is None:
        kind = kind_of(settings.model, settings.revision)
        model = load_pretrained(CLASSES[kind], settings.model, settings.revision)
    else:
        kind, model = _adapted(settings, adapter)
    tokenizer: Any = load_tokenizer(settings.model, settings.revision, need_template=False)
    if adapter is not None:
        # An adapter has no configuration of its own; padding was set when it was trained.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return ExportSource(kind, model.eval(), tokenizer)


def kind_of(model: str, revision: str | None) -> Kind:
    """What a whole model is, by its configuration; ModelError for anything else."""
    config = load_config(model, revision)
    for architecture in config.architectures or ():
        for ending, kind in HEADS.items():
            if architecture.endswith(ending):
                return kind
    raise ModelError(
        f"{model}: {', '.join(config.architectures or ['no architecture'])} is neither a policy "
        "(ForCausalLM) nor a reward model (ForSequenceClassification)"
    )


def _adapted(settings: ExportSettings, adapter: Adapter) -> tuple[Kind, Any]:
    kind = TASKS.get(str(adapter.task))
    if kind is None:
        raise ModelError(
            f"{settings.model}: an adapter for {adapter.task}, not {' or '.join(TASKS)}"
        )
    if settings.base is not None:
        adapter = replace(adapter, base=settings.base, base_revision=settings.base_revision)
    elif adapter.base is None:
        raise ModelError(f"{settings.model}: the adapter does not name its model: set base")
    if kind == "reward model" and (adapter.outputs or 0) > 1:
        raise ModelError(
            f"{settings.model}: an adapter does not name its several outputs; "
            "export the merged folder that it lies in"
        )
    return kind, load_adapted(CLASSES[kind], adapter)
