"""The losses of reward models: pure functions of rewards, with one value for each record.

So their mean over a batch is the same however the batch is split into passes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """-ln sigmoid(chosen - rejected - margin), elementwise on any shape.

    P(chosen preferred) = sigmoid of the difference (Bradley and Terry 1952; Ouyang et al. 2022,
    arXiv:2203.02155). A margin asks for a wider gap where one answer is clearly better (Touvron
    et al. 2023, arXiv:2307.09288, section 3.2.2). Finite for any finite difference.
    """
    difference = chosen - rejected
    return -F.logsigmoid(difference if margin is None else difference - margin)


def centring(rewards: Tensor, present: Tensor) -> Tensor:
    """The square of twice the mean reward of each record, shape (records,).

    `rewards` and `present` are (records, answers); of two answers this is (r1 + r2)^2, which
    pulls rewards to a zero mean without touching differences (Eisenstein et al. 2023,
    arXiv:2312.09244, equation 2).
    """
    total = rewards.masked_fill(~present, 0).sum(1)
    return (2 * total / present.sum(1)) ** 2


def plackett_luce(rewards: Tensor, present: Tensor) -> Tensor:
    """-ln P(this order), shape (records,); `rewards` is (records, answers), best answer first.

    The best is drawn with probability softmax(rewards), then the next among the rest, and so on
    (Plackett 1975; Luce 1959). Of two answers it is the Bradley-Terry loss. `present` is false
    where a record has fewer answers than the longest; those stand at the end.
    """
    # Not -inf: what is missing must not reach the gradient as inf - inf.
    scores = rewards.masked_fill(~present, torch.finfo(rewards.dtype).min)
    # At each place, over all that are not yet drawn: a running sum from the end.
    rest = scores.flip(1).logcumsumexp(1).flip(1)
    return (rest - scores).masked_fill(~present, 0).sum(1)


def all_pairs(rewards: Tensor, values: Tensor, present: Tensor) -> Tensor:
    """The mean Bradley-Terry loss over the pairs of each record that differ in value, (records,).

    All arguments are (records, answers). Pairs of equal value say nothing and are left out
    (Ouyang et al. 2022, arXiv:2203.02155, equation 1, where no two are equal). A record without
    any differing pair gives 0.
    """
    better = values[:, :, None] > values[:, None, :]
    better = better & present[:, :, None] & present[:, None, :]
    losses = bradley_terry(rewards[:, :, None], rewards[:, None, :])
    return losses.masked_fill(~better, 0).sum((1, 2)) / better.sum((1, 2)).clamp(min=1)


def signed_preferences(difference: Tensor, preference: Tensor) -> Tensor:
    """The mean Bradley-Terry loss over the dimensions that have a label, shape (records,).

    `difference` is first minus second answer, (records, dimensions); `preference` of the same
    shape is 1 where the first is better in that dimension, -1 where the second is, 0 where
    it is unknown.
    """
    losses = bradley_terry(difference * preference, torch.zeros_like(difference))
    known = preference != 0
    return losses.masked_fill(~known, 0).sum(1) / known.sum(1).clamp(min=1)


def step_cross_entropy(wrong: Tensor, right: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """The mean cross-entropy over each record's labelled steps, shape (records,).

    All arguments are (records, steps): the two raw numbers, the probability that the step is right
    (1 or 0 for a plain label), and whether that is known (Lightman et al. 2023, arXiv:2305.20050;
    soft labels as in Wang et al. 2024, arXiv:2312.08935).
    """
    # With two labels only the difference counts: its sigmoid is the softmax.
    losses = F.binary_cross_entropy_with_logits(right - wrong, labels, reduction="none")
    return losses.masked_fill(~known, 0).sum(1) / known.sum(1).clamp(min=1)


def squared_error(outputs: Tensor, scores: Tensor) -> Tensor:
    """The mean squared error over the dimensions, shape (records,); both (records, dimensions).

    Scores on a fixed scale can be learnt directly (Wang et al. 2024, arXiv:2406.08673).
    """
    return ((outputs - scores) ** 2).mean(1)
