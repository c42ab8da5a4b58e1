"""Which networks score steps, and how their weights are loaded.

A process reward model is a decoder with a head that is applied to any token: a token classifier,
a sequence classifier that was trained to be read at step marks, or Qwen2.5-Math-PRM's network,
whose head has two layers; the library has no class for it.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    Qwen2Model,
    Qwen2PreTrainedModel,
)
from transformers.modeling_layers import GenericForTokenClassification

TOKEN_CLASSIFIER = "ForTokenClassification"  # noqa: S105 - the end of a class's name
PROCESS_REWARD = "ForProcessRewardModel"
SEQUENCE_CLASSIFIER = "ForSequenceClassification"


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """The network of Qwen2.5-Math-PRM, by the names of its published weights (Zhang et al. 2025,
    arXiv:2501.07301), without the code that comes with them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        width = config.hidden_size
        self.score = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.num_labels)
        )
        self.post_init()  # type: ignore[no-untyped-call]


def scores_tokens(config: Any) -> str | None:
    """The architecture's name, if it gives numbers for every token and not for a sequence."""
    name = _architecture(config)
    return name if name.endswith((TOKEN_CLASSIFIER, PROCESS_REWARD)) else None


def step_class(config: Any) -> Any:
    """The class that loads a process reward model. Raises ValueError for another architecture."""
    name = _architecture(config)
    if name == Qwen2ForProcessRewardModel.__name__:
        return Qwen2ForProcessRewardModel
    if name.endswith(TOKEN_CLASSIFIER):
        return AutoModelForTokenClassification
    if name.endswith(SEQUENCE_CLASSIFIER):
        return AutoModelForSequenceClassification
    raise ValueError(f"no process reward model: its architecture is {name or 'not stated'}")


def has_token_head(net: nn.Module) -> bool:
    """Whether it is a decoder whose `score` head treats every token alike."""
    if isinstance(net, GenericForTokenClassification):
        return type(net).forward is GenericForTokenClassification.forward
    return isinstance(net, Qwen2ForProcessRewardModel)


def _architecture(config: Any) -> str:
    return str((getattr(config, "architectures", None) or [""])[0])
