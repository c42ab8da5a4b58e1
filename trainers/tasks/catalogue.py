"""All problems of all tasks, by prompt, each on its side of the split.

A hash of the task's name and the problem's fact decides the side. So it is the same in every
release and on every machine, new tasks and new problems move nothing, and all prompts that need the
same fact are on one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from trainers.tasks.choosing import position
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.registry import TASKS

TaskSide = Literal["train", "held-out"]
HELD_OUT_SHARE = 0.2
"""Expected share of the facts that are held out. Another number would be another split."""


@dataclass(frozen=True)
class PlacedProblem:
    """A problem, with its task and its side."""

    task: str
    side: TaskSide
    problem: Problem


def side_of_fact(task: str, fact: str) -> TaskSide:
    """The side of every prompt of the task that needs this fact."""
    return "held-out" if position("bon-train tasks", task, fact) < HELD_OUT_SHARE else "train"


def placed(tasks: Iterable[PromptTask]) -> list[PlacedProblem]:
    """The problems of the tasks, in order."""
    return [
        PlacedProblem(task.name, side_of_fact(task.name, problem.fact), problem)
        for task in tasks
        for problem in task.problems()
    ]


def mixed(problems: Iterable[PlacedProblem]) -> list[PlacedProblem]:
    """In the order of the files, so that the first thousand lines hold something of every task."""
    return sorted(problems, key=lambda one: position("order", one.problem.prompt))


def first_of_each_task(problems: Iterable[PlacedProblem], most: int | None) -> list[PlacedProblem]:
    """The first `most` problems of each task and side, in the given order; None keeps all."""
    counts = Counter[tuple[str, TaskSide]]()
    kept = []
    for one in problems:
        counts[one.task, one.side] += 1
        if most is None or counts[one.task, one.side] <= most:
            kept.append(one)
    return kept


@cache
def catalogue() -> Mapping[str, PlacedProblem]:
    """Every problem by its prompt."""
    return {one.problem.prompt: one for one in placed(TASKS)}
