"""Generalised advantage estimation over answers of different lengths.

Schulman et al. 2015, arXiv:1506.02438: with the errors d_t = r_t + gamma V_(t+1) - V_t of the
value model, A_t = d_t + gamma lambda A_(t+1). Both are 0 after an answer's last token.
"""

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of each token.

    rewards, values: (rows, tokens), mask: (rows, tokens) bool, true on the left part of each row.
    Returns two tensors of that shape, 0 in the padding whatever it held; return = advantage + value
    is what the value model should have predicted.
    """
    rewards = rewards.masked_fill(~mask, 0.0)
    values = values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(rewards)
    following_value = following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        error = rewards[:, t] + gamma * following_value - values[:, t]
        # In the padding all terms are 0, so the recursion starts at each row's own last token.
        following = error + gamma * lam * following
        following_value = values[:, t]
        advantages[:, t] = following
    return advantages, advantages + values
