"""A loss with what it needs of a record, and what it tells of a batch: one class an objective.

All are called alike, so that the trainer never asks which one it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trainers.reward.losses import (
    all_pairs,
    bradley_terry,
    centring,
    plackett_luce,
    signed_preferences,
    squared_error,
)


@dataclass(frozen=True)
class Outputs:
    """What the network said of the answers of a batch."""

    labels: Tensor
    """(records, answers, dimensions), raw; 0 where there is no answer."""
    rewards: Tensor
    """(records, answers): the dimensions by their weights."""
    present: Tensor
    """(records, answers): false where a record has fewer answers than the longest."""


@dataclass(frozen=True)
class Loss:
    value: Tensor
    """The mean over the records, a scalar."""
    metrics: Mapping[str, Tensor]
    """Scalars for the log."""


class Objective(Protocol):
    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        """`targets` holds what the records say beside their answers, a row for each record."""


@dataclass(frozen=True)
class Pairwise:
    """Answer 0 is preferred to answer 1; `margin` of shape (records,) may be among the targets."""

    center: float = 0.0

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        chosen, rejected = outputs.rewards.unbind(1)
        losses = bradley_terry(chosen, rejected, targets.get("margin"))
        losses = losses + self.center * centring(outputs.rewards, outputs.present)
        return Loss(losses.mean(), _agreement(chosen - rejected))


@dataclass(frozen=True)
class Listwise:
    """The answers of a record stand best first.

    Divided by the choices that an order takes, so that a prompt with eight answers does not
    count as much as seven pairs.
    """

    center: float = 0.0

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        choices = outputs.present.sum(1) - 1
        losses = plackett_luce(outputs.rewards, outputs.present) / choices
        losses = losses + self.center * centring(outputs.rewards, outputs.present)
        return Loss(losses.mean(), _first_and_last(outputs))


@dataclass(frozen=True)
class AllPairs:
    """`values` of shape (records, answers) order the answers; equal ones are ties."""

    center: float = 0.0

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        losses = all_pairs(outputs.rewards, targets["values"], outputs.present)
        losses = losses + self.center * centring(outputs.rewards, outputs.present)
        return Loss(losses.mean(), _first_and_last(outputs))


@dataclass(frozen=True)
class DimensionPairs:
    """`preferences` of shape (records, dimensions): who won in which dimension."""

    center: float = 0.0

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        preferences = targets["preferences"]
        difference = outputs.labels[:, 0] - outputs.labels[:, 1]
        losses = signed_preferences(difference, preferences)
        losses = losses + self.center * centring(outputs.rewards, outputs.present)
        known = preferences != 0
        right = (difference * preferences > 0) & known
        return Loss(losses.mean(), {"accuracy": right.sum() / known.sum().clamp(min=1)})


@dataclass(frozen=True)
class DimensionRankings:
    """`values` of shape (records, answers, dimensions) order the answers in each dimension.

    The mean over the dimensions of what `Listwise` (strict) or `AllPairs` would give.
    """

    strict: bool
    center: float = 0.0

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        labels, values = outputs.labels.unbind(2), targets["values"].unbind(2)
        each = [self._one(*both, outputs.present) for both in zip(labels, values, strict=True)]
        losses = torch.stack(each).mean(0)
        losses = losses + self.center * centring(outputs.rewards, outputs.present)
        return Loss(losses.mean(), {"accuracy": self._accuracy(outputs, targets["values"])})

    def _one(self, rewards: Tensor, values: Tensor, present: Tensor) -> Tensor:
        if not self.strict:
            return all_pairs(rewards, values, present)
        # Best first; what is missing stays at the end.
        order = values.masked_fill(~present, -torch.inf).argsort(1, descending=True)
        return plackett_luce(rewards.gather(1, order), present) / (present.sum(1) - 1)

    @staticmethod
    def _accuracy(outputs: Outputs, values: Tensor) -> Tensor:
        """The share of differing pairs of answers, over all dimensions, that are ordered right."""
        both = outputs.present[:, :, None] & outputs.present[:, None, :]
        better = (values[:, :, None] > values[:, None, :]) & both[..., None]
        right = (outputs.labels[:, :, None] > outputs.labels[:, None, :]) & better
        return right.sum() / better.sum().clamp(min=1)


@dataclass(frozen=True)
class Regression:
    """`scores` of shape (records, dimensions) is what each output should be."""

    def __call__(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Loss:
        found, wanted = outputs.labels[:, 0], targets["scores"]
        errors = (found - wanted).abs().mean()
        return Loss(squared_error(found, wanted).mean(), {"absolute_error": errors})


def _agreement(difference: Tensor) -> dict[str, Tensor]:
    return {"accuracy": (difference > 0).float().mean(), "margin": difference.mean()}


def _first_and_last(outputs: Outputs) -> dict[str, Tensor]:
    """Best against worst answer of each record, and how often the best scores highest."""
    rows = torch.arange(len(outputs.rewards), device=outputs.rewards.device)
    last = outputs.rewards[rows, outputs.present.sum(1) - 1]
    scores = outputs.rewards.masked_fill(~outputs.present, -torch.inf)
    return {
        **_agreement(outputs.rewards[:, 0] - last),
        "best_first": (scores.argmax(1) == 0).float().mean(),
    }
