"""Log-probability and entropy of each token under a policy, at the sampling temperature.

The temperature belongs to the policy that acts: it samples from softmax(logits / temperature), so
old, new and reference log-probs must all be taken there, or the ratio before the first update
would not be 1.
"""

import torch
from torch import Tensor


def token_logps(logits: Tensor, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability in nats of each token of `ids`.

    logits: (..., vocabulary), those from which `ids` of shape (...) were drawn; returns (...).
    """
    scaled = _at_least_float32(logits) / temperature
    chosen = scaled.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    return chosen - scaled.logsumexp(-1)


def token_entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy in nats of the distribution each token was drawn from: (..., vocabulary) to (...)."""
    logps = (_at_least_float32(logits) / temperature).log_softmax(-1)
    return -(logps.exp() * logps).sum(-1)


def _at_least_float32(logits: Tensor) -> Tensor:
    """Sums over a whole vocabulary lose too much in 16 bits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
