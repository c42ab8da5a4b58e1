"""The network to train: a sequence classifier with one output for each dimension."""

import logging
from typing import Any

from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from trainers.base.errors import ModelError
from trainers.base.loading import load_model
from trainers.reward.settings import RewardTrainSettings


def load_network(settings: RewardTrainSettings) -> Any:
    """The model to start from, with a random head (by the seed) if the checkpoint has none.

    Raises ModelError if it cannot be loaded, has a head of another size, or lacks more than
    its head.
    """
    names = list(settings.dimensions or ())
    options: dict[str, Any] = {"num_labels": max(len(names), 1)}
    if names:
        options["id2label"] = dict(enumerate(names))
        options["label2id"] = {name: index for index, name in enumerate(names)}
    # A missing head and an unused language model head are expected; anything else that is missing
    # is an error below.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        loaded: Any = load_model(
            AutoModelForSequenceClassification, settings, output_loading_info=True, **options
        )
    except RuntimeError as error:
        raise ModelError(
            f"{settings.model}: its head does not have {options['num_labels']} output(s)"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    net, info = loaded
    lacking = [key for key in sorted(info["missing_keys"]) if not _is_head(net, key)]
    if lacking:
        raise ModelError(f"{settings.model}: the weights lack {', '.join(lacking[:3])}")
    return net


def _is_head(net: Any, key: str) -> bool:
    """Whether a weight belongs to the head or to an encoder's pooler, which start at random."""
    return not key.startswith(f"{net.base_model_prefix}.") or ".pooler." in key
