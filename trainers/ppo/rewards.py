"""The reward of each token: the KL penalty everywhere, the answer's score on its last token.

The last token of a finished answer is the end-of-turn token, that of a cut one the last that was
drawn. The value model predicts, before each token including the last, the reward still to come.
"""

import torch
from torch import Tensor

from trainers.ppo.settings import RewardShapeSettings


def answer_scores(scores: Tensor, truncated: Tensor, shape: RewardShapeSettings) -> Tensor:
    """Shift, scale and limit the reward model's scores; subtract the penalty from cut answers.

    scores: (rows,), truncated: (rows,) bool; returns (rows,).
    """
    result = (scores - shape.shift) / shape.scale
    if shape.clip is not None:
        result = result.clamp(-shape.clip, shape.clip)
    return result - shape.missing_eos_penalty * truncated.to(result.dtype)


def shaped_rewards(kl: Tensor, beta: float, scores: Tensor, mask: Tensor) -> Tensor:
    """Per-token rewards -beta x KL, and the score added at the last token of each answer.

    kl: (rows, tokens) in nats, scores: (rows,), mask: (rows, tokens) bool, true on the left part
    of each row and nowhere else; returns (rows, tokens), 0 in the padding. Ziegler et al. 2019.
    """
    rewards = (-beta * kl).masked_fill(~mask, 0.0)
    rows = torch.arange(len(scores), device=scores.device)
    last = mask.sum(-1) - 1
    rewards[rows, last] += scores
    return rewards
