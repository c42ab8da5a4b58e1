"""`bon-train tasks`: write the prompts whose answers a program can check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from trainers.base.context import RunContext
from trainers.base.errors import SettingsError
from trainers.base.files import write_lines
from trainers.base.outputs import claim_files
from trainers.tasks.catalogue import PlacedProblem, TaskSide, placed
from trainers.tasks.choosing import position
from trainers.tasks.gsm8k import questions
from trainers.tasks.problem import PromptTask
from trainers.tasks.registry import TASKS
from trainers.tasks.settings import TasksSettings

SIDES: tuple[TaskSide, ...] = ("train", "held-out")
GSM8K = "gsm8k.jsonl"


def run(settings: TasksSettings, context: RunContext) -> dict[str, float]:
    """`bon-train tasks`."""
    problems = placed(_wanted(settings))
    if context.dry_run:
        context.show(_listed(problems))
        return _counts(problems)
    files = {side: settings.output / f"{side}.jsonl" for side in SIDES}
    gsm8k = {} if settings.gsm8k is None else questions(settings.gsm8k)
    made = [*files.values(), *([settings.output / GSM8K] if gsm8k else [])]
    claim_files(made, context, inputs=[settings.gsm8k] if settings.gsm8k else [])
    for side, path in files.items():
        of_side = [one for one in problems if one.side == side]
        # Mixed, so that the first thousand lines hold something of every task.
        of_side.sort(key=lambda one: position("order", one.problem.prompt))
        write_lines(path, ({"prompt": o.problem.prompt, "task": o.task} for o in of_side))
    if gsm8k:
        lines = ({"prompt": question, "task": "gsm8k"} for question in gsm8k)
        write_lines(settings.output / GSM8K, lines)
    return _counts(problems) | ({"gsm8k": len(gsm8k)} if gsm8k else {})


def _wanted(settings: TasksSettings) -> list[PromptTask]:
    """The tasks to write; SettingsError for a name that no task has."""
    if settings.only is None:
        return list(TASKS)
    known = {task.name: task for task in TASKS}
    for name in settings.only:
        if name not in known:
            raise SettingsError(f"only: there is no task {name!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(settings.only)]


def _listed(problems: Iterable[PlacedProblem]) -> str:
    """A line for each task: its name, its numbers of prompts, and its first prompt."""
    found = list(problems)
    counts = Counter((one.task, one.side) for one in found)
    first: dict[str, str] = {}
    for one in found:
        first.setdefault(one.task, one.problem.prompt)
    return "\n".join(
        f"{name:20} {counts[name, 'train']:5} {counts[name, 'held-out']:4}  {prompt}"
        for name, prompt in first.items()
    )


def _counts(problems: Iterable[PlacedProblem]) -> dict[str, float]:
    counts = Counter(one.side for one in problems)
    return {f"{side} prompts": counts[side] for side in SIDES}
