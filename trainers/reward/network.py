"""The network to train: a sequence classifier with one output for each dimension, or a token
classifier of two labels for a process reward model."""

from typing import Any

from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from trainers.base.loading import AutoClass, load_model
from trainers.reward.settings import RIGHT, WRONG, RewardTrainSettings


def load_network(settings: RewardTrainSettings) -> Any:
    """The model to start from, with a random head (by the seed) if the checkpoint has none.

    Raises ModelError if it cannot be loaded, has a head of another size, or lacks more than
    its head.
    """
    kind = kind_of(settings)
    names = list(settings.dimensions or ())
    if settings.objective == "stepwise":
        names = [WRONG, RIGHT]
    options: dict[str, Any] = {"num_labels": max(len(names), 1)}
    if names:
        options["id2label"] = dict(enumerate(names))
        options["label2id"] = {name: index for index, name in enumerate(names)}
    return load_model(kind, settings, may_lack=_may_be_new, **options)


def kind_of(settings: RewardTrainSettings) -> AutoClass:
    """The library's class of the network."""
    if settings.objective == "stepwise":
        return AutoModelForTokenClassification
    return AutoModelForSequenceClassification


def trained_whole(net: Any) -> list[str]:
    """The modules that get no adapter: the head, and what starts with random weights.

    They are trained as they are and kept with the adapter; without them it is worth nothing.
    """
    if isinstance(net, PeftModel):  # its adapter says so already
        return []
    inner = net.base_model_prefix
    head = [
        name
        for name, module in net.named_children()
        if name != inner and next(module.parameters(), None) is not None
    ]
    new = [name.rpartition(".")[0] for name in net.new_weights]
    inside = sorted({name for name in new if name.split(".")[0] not in head})
    return head + inside


def _may_be_new(net: Any, name: str) -> bool:
    """Whether a weight belongs to the head or to an encoder's pooler, which may start at random."""
    return not name.startswith(f"{net.base_model_prefix}.") or ".pooler." in name
