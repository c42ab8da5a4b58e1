"""The value model: a network of its own that predicts, before each token, the reward to come.

Sharing the policy's network would save memory, but let the value loss change the policy. Apart,
each has its own learning rate and gradient norm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedTokenizerBase

from trainers.base.adapters import find_adapter
from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained, load_tokenizer
from trainers.policy.sequences import Sequences
from trainers.ppo.settings import RewardShapeSettings
from trainers.rewards.ensemble import refuse_ensemble
from trainers.rewards.one import load_net


class ValueModel(nn.Module):
    """A decoder with a scalar head, in evaluation mode like the policy."""

    def __init__(self, backbone: Any, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head.float()
        self.eval()

    def forward(self, sequences: Sequences) -> Tensor:
        """(rows, width) float32: the value of the state in which each answer token is drawn."""
        out = self.backbone(
            input_ids=sequences.ids,
            attention_mask=sequences.mask.long(),
            position_ids=sequences.positions,
            use_cache=False,
        )
        before = out.last_hidden_state[:, -sequences.width - 1 : -1]
        values: Tensor = self.head(before.to(self.head.weight.dtype)).squeeze(-1)
        return values


def value_from_policy(model: str, revision: str | None, device: torch.device) -> ValueModel:
    """The policy's decoder under a new head, which predicts 0 at first."""
    if find_adapter(model, revision) is None:
        backbone = load_pretrained(AutoModel, model, revision)
    else:
        # An adapter's names are those of the whole policy.
        policy = load_pretrained(AutoModelForCausalLM, model, revision)
        backbone = getattr(policy, policy.base_model_prefix)
    head = nn.Linear(backbone.config.get_text_config().hidden_size, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return ValueModel(backbone, head).to(device)


def value_from_reward(
    folder: Path,
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    shape: RewardShapeSettings | None = None,
) -> ValueModel:
    """The reward model's decoder under its own head (Stiennon et al. 2020, appendix G).

    The head is shifted and scaled as `shape` shifts and scales scores: values predict shaped
    returns, and the value clip would allow only small steps away from a wrong scale.

    Raises ModelError unless it reads the policy's tokens and is a decoder with a linear head.
    """
    refuse_ensemble(folder, "what the value model starts from")
    if load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise ModelError(f"{folder}: not the policy's vocabulary; set value.start to policy")
    net = load_net(folder)
    score = getattr(net, "score", None)
    if not isinstance(score, nn.Linear):
        raise ModelError(f"{folder}: no decoder with one score; set value.start to policy")
    head = nn.Linear(score.in_features, 1)
    with torch.no_grad():
        head.weight.copy_(score.weight)
        if score.bias is None:
            nn.init.zeros_(head.bias)
        else:
            head.bias.copy_(score.bias)
        if shape is not None:
            head.weight.div_(shape.scale)
            head.bias.sub_(shape.shift).div_(shape.scale)
    return ValueModel(getattr(net, net.base_model_prefix), head).to(device)
