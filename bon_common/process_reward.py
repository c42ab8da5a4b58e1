"""Process rewards: a score for each step of an answer, and one reward from all scores.

A process reward model reads an answer with a mark behind each of its steps, and says at each mark
whether the step is right (Lightman et al. 2023, arXiv:2305.20050). The reward server, the gateway
and the trainers share these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Aggregate = Literal["min", "product", "last", "mean"]


@dataclass(frozen=True)
class StepReading:
    """How steps are marked in an answer, and how their scores become its reward."""

    separator: str = "\n\n"
    """Text between two steps of an answer."""
    token: str | None = None
    """The mark behind each step, for the model; None takes the separator."""
    label: str | None = None
    """The label of a right step; None takes the second of two, or the only one."""
    aggregate: Aggregate = "min"

    @property
    def mark(self) -> str:
        return self.token or self.separator


def split_steps(text: str, separator: str, *, unfinished: bool = False) -> list[str]:
    """The steps of an answer, without the white space around them; at least one.

    If the answer is `unfinished`, the last step counts only if the separator ends it, or if it is
    the only one: the model would judge half a step as a whole one.
    """
    steps = [step.strip() for step in text.split(separator)]
    if unfinished and any(steps[:-1]):
        steps.pop()
    return [step for step in steps if step] or [""]


def right_label(labels: Sequence[str], label: str | None) -> int:
    """The place of the label that means a right step. Raises ValueError if there is none."""
    if label is None:
        if len(labels) > 2:
            raise ValueError(f"the model has {len(labels)} labels; name one of {', '.join(labels)}")
        return len(labels) - 1
    if label not in labels:
        raise ValueError(f"no label {label!r}; there are {', '.join(labels)}")
    return list(labels).index(label)


def step_score(numbers: Sequence[float], right: int) -> float:
    """The probability that a step is right, from each label's raw number at its mark.

    It is the softmax over several labels or the sigmoid of a single one; NaN if a number is not
    finite.
    """
    if not all(map(math.isfinite, numbers)):
        return math.nan
    if len(numbers) == 1:
        numbers, right = (0.0, numbers[0]), 1
    highest = max(numbers)
    weights = [math.exp(number - highest) for number in numbers]
    return weights[right] / sum(weights)


def aggregated(steps: Sequence[float], how: Aggregate) -> float:
    """One reward from the scores of an answer's steps. Needs at least one step.

    The lowest step and the product say whether all steps are right; the product also falls with
    their number. The last step's score is the model's opinion of all before it. The mean forgives
    a wrong step in a long answer.
    """
    if how == "min":
        return min(steps)
    if how == "product":
        return math.prod(steps)
    return steps[-1] if how == "last" else math.fsum(steps) / len(steps)


def read_step_notes(notes: Any) -> StepReading:
    """`steps` of `rm_meta.json`, as `bon-train reward` writes it. Raises ValueError."""
    try:
        found = StepReading(**notes)
    except TypeError as error:
        raise ValueError(str(error)) from error
    texts: tuple[Any, ...] = (found.separator, found.mark)
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("separator and token must be texts")
    if found.aggregate not in get_args(Aggregate):
        raise ValueError(f"aggregate must be one of {', '.join(get_args(Aggregate))}")
    return found
