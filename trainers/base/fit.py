"""Whether a model has room for its tokenizer's ids and for the texts that it is to read.

Both are known before any weight is read, so a run that could not end does not begin.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from bon_common.loaded_model import UnfitModelError, position_limit, require_room
from trainers.base.errors import ModelError, SettingsError
from trainers.base.loading import AutoClass, load_config
from trainers.base.settings import TrainSettings


def outline(kind: AutoClass, model: str | Path, revision: str | None = None, **options: Any) -> Any:
    """The network of a checkpoint without weights; ModelError if it is of another kind."""
    config = load_config(model, revision, **options)
    try:
        with torch.device("meta"):
            return kind.from_config(config)
    except ValueError as error:
        raise ModelError(f"{model}: {str(error).splitlines()[0]}") from error


def require_fit(net: Any, tokenizer: PreTrainedTokenizerBase, name: str | Path) -> None:
    """Raise ModelError if the tokenizer has ids that the network does not know."""
    try:
        require_room(net, tokenizer)
    except UnfitModelError as error:
        raise ModelError(f"{name}: {error}") from error


def require_start(
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    kind: AutoClass = AutoModelForCausalLM,
    key: str = "max_length",
) -> int | None:
    """Raise ModelError or SettingsError unless `settings.model` can read what it is trained on.

    Returns the most tokens that it can read; None is no limit.
    """
    net = outline(kind, settings.model, settings.revision)
    require_fit(net, tokenizer, settings.model)
    limit = position_limit(net)
    if limit is not None and settings.max_length > limit:
        raise SettingsError(
            f"{key}: {settings.max_length} is over the {limit} tokens that "
            f"{settings.model} can read"
        )
    return limit


def require_answers(
    limit: int | None, prompts: Iterable[Sequence[int]], key: str, most: int
) -> None:
    """Raise SettingsError, naming `key`, unless `most` tokens of answer fit behind every prompt."""
    longest = max(map(len, prompts), default=0)
    if limit is not None and longest + most > limit:
        raise SettingsError(
            f"{key}: {most} after a prompt of {longest} tokens is over the {limit} tokens that "
            "the model can read"
        )
