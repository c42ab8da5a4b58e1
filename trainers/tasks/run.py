"""`bon-train tasks`: write the prompts whose answers a program can check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from trainers.base.context import RunContext
from trainers.base.errors import SettingsError
from trainers.base.files import write_lines
from trainers.base.outputs import claim_files
from trainers.tasks.catalogue import (
    PlacedProblem,
    TaskSide,
    first_of_each_task,
    mixed,
    placed,
)
from trainers.tasks.gsm8k import questions
from trainers.tasks.problem import PromptTask
from trainers.tasks.registry import TASKS
from trainers.tasks.settings import TasksSettings

SIDES: tuple[TaskSide, ...] = ("train", "held-out")
GSM8K = "gsm8k.jsonl"
EXAMPLES = "examples.jsonl"

Lines = list[PlacedProblem]
"""Those of one file, in its order."""


def run(settings: TasksSettings, context: RunContext) -> dict[str, float]:
    """`bon-train tasks`."""
    tasks = _wanted(settings)
    problems = placed(tasks)
    sides = _sides(settings, problems)
    examples = _examples(settings, tasks, sides["train"])
    if context.dry_run:
        context.show(_listed(problems, sides))
        return _counts(sides, examples)
    files = {side: settings.output / f"{side}.jsonl" for side in SIDES}
    gsm8k = {} if settings.gsm8k is None else questions(settings.gsm8k)
    made = [*files.values(), *([settings.output / GSM8K] if gsm8k else [])]
    made += [settings.output / EXAMPLES] if settings.examples else []
    claim_files(made, context, inputs=[settings.gsm8k] if settings.gsm8k else [])
    for side, path in files.items():
        write_lines(path, ({"prompt": o.problem.prompt, "task": o.task} for o in sides[side]))
    if settings.examples:
        write_lines(settings.output / EXAMPLES, map(_record, examples))
    if gsm8k:
        lines = ({"prompt": question, "task": "gsm8k"} for question in gsm8k)
        write_lines(settings.output / GSM8K, lines)
    return _counts(sides, examples) | ({"gsm8k": len(gsm8k)} if gsm8k else {})


def _sides(settings: TasksSettings, problems: Iterable[PlacedProblem]) -> dict[TaskSide, Lines]:
    """The lines of both files, in order."""
    limits = {"train": settings.per_task.train, "held-out": settings.per_task.held_out}
    ordered = mixed(problems)
    return {
        side: first_of_each_task((one for one in ordered if one.side == side), limits[side])
        for side in SIDES
    }


def _examples(settings: TasksSettings, tasks: Iterable[PromptTask], train: Lines) -> Lines:
    """The problems whose right answers are written."""
    if settings.examples is None:
        return []
    natural = {task.name for task in tasks if task.natural_example}
    return first_of_each_task((one for one in train if one.task in natural), settings.examples)


def _record(one: PlacedProblem) -> dict[str, object]:
    """A conversation to learn from."""
    turns = {"user": one.problem.prompt, "assistant": one.problem.example}
    return {"messages": [{"role": role, "content": text} for role, text in turns.items()]}


def _wanted(settings: TasksSettings) -> list[PromptTask]:
    """The tasks to write; SettingsError for a name that no task has."""
    if settings.only is None:
        return list(TASKS)
    known = {task.name: task for task in TASKS}
    for name in settings.only:
        if name not in known:
            raise SettingsError(f"only: there is no task {name!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(settings.only)]


def _listed(problems: Iterable[PlacedProblem], sides: Mapping[TaskSide, Lines]) -> str:
    """A line for each task: its name, its numbers of prompts, and its first prompt."""
    counts = Counter((one.task, one.side) for lines in sides.values() for one in lines)
    first: dict[str, str] = {}
    for one in problems:
        first.setdefault(one.task, one.problem.prompt)
    return "\n".join(
        f"{name:20} {counts[name, 'train']:5} {counts[name, 'held-out']:4}  {prompt}"
        for name, prompt in first.items()
    )


def _counts(sides: Mapping[TaskSide, Lines], examples: Lines) -> dict[str, float]:
    counts: dict[str, float] = {f"{side} prompts": len(lines) for side, lines in sides.items()}
    return counts | ({"examples": len(examples)} if examples else {})
