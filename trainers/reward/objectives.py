"""The objectives, one function each: from a batch of outputs to losses and figures for the log.

All are called alike, so that the trainer never asks which one it has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.reward.losses import (
    all_pairs,
    bradley_terry,
    centring,
    plackett_luce,
    signed_preferences,
    squared_error,
    step_cross_entropy,
)
from trainers.rewards.steps import HALF


@dataclass(frozen=True)
class Outputs:
    """The network's outputs for the answers of a batch."""

    labels: Tensor
    """(records, answers, dimensions), raw; 0 where there is no answer."""
    rewards: Tensor
    """(records, answers): the dimensions by their weights."""
    present: Tensor
    """(records, answers): false where a record has fewer answers than the longest."""


Targets = Mapping[str, Tensor]
"""The records' labels beside their answers, one row for each record."""

Metrics = dict[str, Tensor]
"""Scalars for the log."""

Objective = Callable[[Outputs, Targets], tuple[Tensor, Metrics]]
"""Returns the loss of each record, shape (records,), and the metrics."""


def batch_loss(
    objective: Objective, outputs: Outputs, targets: Targets, center: float = 0.0
) -> tuple[Tensor, Metrics]:
    """The mean loss of the records, a scalar; `center` weighs the pull to a zero mean reward."""
    losses, metrics = objective(outputs, targets)
    if center:
        losses = losses + center * centring(outputs.rewards, outputs.present)
    return losses.mean(), metrics


def pair_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """Answer 0 is preferred to answer 1; `margin` of shape (records,) may be among the targets."""
    chosen, rejected = outputs.rewards.unbind(1)
    return bradley_terry(chosen, rejected, targets.get("margin")), _agreement(chosen - rejected)


def ranking_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """The answers of a record stand best first.

    Divided by the choices that an order takes, so that a prompt with eight answers does not
    count as much as seven pairs.
    """
    del targets  # the order says it all
    choices = outputs.present.sum(1) - 1
    return plackett_luce(outputs.rewards, outputs.present) / choices, _first_and_last(outputs)


def tied_ranking_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """`values` of shape (records, answers) order the answers, best first; equal ones are ties."""
    losses = all_pairs(outputs.rewards, targets["values"], outputs.present)
    return losses, _first_and_last(outputs)


def dimension_pair_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """`preferences` of shape (records, dimensions): who won in which dimension."""
    preferences = targets["preferences"]
    difference = outputs.labels[:, 0] - outputs.labels[:, 1]
    known = preferences != 0
    right = (difference * preferences > 0) & known
    accuracy = right.sum() / known.sum().clamp(min=1)
    return signed_preferences(difference, preferences), {"accuracy": accuracy}


def dimension_ranking_losses(
    outputs: Outputs, targets: Targets, *, strict: bool
) -> tuple[Tensor, Metrics]:
    """`values` of shape (records, answers, dimensions) order the answers in each dimension.

    The mean over the dimensions of `ranking_losses` (strict) or `tied_ranking_losses`.
    """
    loss = _sorted_plackett_luce if strict else all_pairs
    labels, values = outputs.labels.unbind(2), targets["values"].unbind(2)
    each = [loss(*both, outputs.present) for both in zip(labels, values, strict=True)]
    accuracy = _pair_accuracy(outputs, targets["values"])
    return torch.stack(each).mean(0), {"accuracy": accuracy}


def score_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """`scores` of shape (records, dimensions) is what each output should be."""
    found, wanted = outputs.labels[:, 0], targets["scores"]
    return squared_error(found, wanted), {"absolute_error": (found - wanted).abs().mean()}


def step_losses(outputs: Outputs, targets: Targets) -> tuple[Tensor, Metrics]:
    """`labels` of shape (records, steps): whether each is right, -1 where that is unknown.

    The outputs stand at each step's mark, for the labels wrong and right. The first error of an
    answer is found if the first step that the model calls wrong is the first one labelled wrong, or
    if both name none.
    """
    labels = targets["labels"]
    known = outputs.present & (labels >= 0)
    wrong, right = outputs.labels.unbind(2)
    losses = step_cross_entropy(wrong, right, labels.clamp(min=0), known)
    good = right > wrong
    hits = ((good == (labels >= HALF)) & known).sum() / known.sum().clamp(min=1)
    found = _first(~good & outputs.present) == _first((labels < HALF) & known)
    return losses, {"step_accuracy": hits, "first_error": found.float().mean()}


def _first(marked: Tensor) -> Tensor:
    """The place of the first true entry of each row; the row's length if there is none."""
    none = ~marked.any(1)
    return marked.float().argmax(1).masked_fill(none, marked.shape[1])


def _sorted_plackett_luce(rewards: Tensor, values: Tensor, present: Tensor) -> Tensor:
    # Best first; what is missing stays at the end.
    order = values.masked_fill(~present, -torch.inf).argsort(1, descending=True)
    return plackett_luce(rewards.gather(1, order), present) / (present.sum(1) - 1)


def _pair_accuracy(outputs: Outputs, values: Tensor) -> Tensor:
    """The share of differing pairs of answers, over all dimensions, that are ordered right."""
    both = outputs.present[:, :, None] & outputs.present[:, None, :]
    better = (values[:, :, None] > values[:, None, :]) & both[..., None]
    right = (outputs.labels[:, :, None] > outputs.labels[:, None, :]) & better
    return right.sum() / better.sum().clamp(min=1)


def _agreement(difference: Tensor) -> Metrics:
    return {"accuracy": (difference > 0).float().mean(), "margin": difference.mean()}


def _first_and_last(outputs: Outputs) -> Metrics:
    """Best against worst answer of each record, and how often the best scores highest."""
    rows = torch.arange(len(outputs.rewards), device=outputs.rewards.device)
    last = outputs.rewards[rows, outputs.present.sum(1) - 1]
    rewards = outputs.rewards.masked_fill(~outputs.present, -torch.inf)
    return {
        **_agreement(outputs.rewards[:, 0] - last),
        "best_first": (rewards.argmax(1) == 0).float().mean(),
    }
