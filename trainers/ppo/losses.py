"""PPO's losses, per token: pure functions of log-probs, values, advantages and returns.

All tensors have the shape (rows, tokens); so have the results. The caller sums them under the
mask and divides by the number of tokens of the whole minibatch.
"""

import torch
from torch import Tensor


def policy_loss(logps: Tensor, old: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """The clipped surrogate, -min(ratio A, clip(ratio, 1 - eps, 1 + eps) A), with ratio = p/p_old.

    Schulman et al. 2017, arXiv:1707.06347, equation 7; equation 6 where `clip` is None. At the
    first step of an iteration the ratio is 1 and the gradient is REINFORCE's, -A grad log p.
    """
    ratio = (logps - old).exp()
    if clip is None:
        return -ratio * advantages
    return torch.max(-ratio * advantages, -ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Half the squared error, or the larger of that and the clipped value's.

    A value that has moved more than `clip` from `old`, its value at sampling, gains nothing by
    moving further.
    """
    error = (values - returns).square()
    if clip is not None:
        limited = old + (values - old).clamp(-clip, clip)
        error = torch.max(error, (limited - returns).square())
    return error / 2


def clip_fraction(logps: Tensor, old: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """1.0 for each token whose gradient the clip has cut off, else 0.0."""
    if clip is None:
        return torch.zeros_like(logps)
    ratio = (logps - old).exp()
    up = (ratio > 1 + clip) & (advantages > 0)
    down = (ratio < 1 - clip) & (advantages < 0)
    return (up | down).float()
