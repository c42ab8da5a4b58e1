"""The settings of `bon-train tasks`."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from trainers.base.settings import Positive, Settings


class PerTask(Settings):
    """Most prompts of one task in each file: the first of its lines, so that a smaller number gives
    a part of what a larger one gives. A task that has fewer gives all it has."""

    train: Positive | None = None
    """In `train.jsonl`; all unless given."""
    held_out: Positive | None = None
    """In `held-out.jsonl`; all unless given."""


class TasksSettings(Settings):
    """Prompts with a known truth, in a file to train on and a file to measure with."""

    output: Path
    """Folder for `train.jsonl` and `held-out.jsonl`: lines of `{prompt, task}`, mixed."""
    only: tuple[str, ...] | None = None
    """The tasks to write, by name; by default all. `--dry-run` lists them."""
    per_task: PerTask = PerTask()
    """Limits that balance the tasks; by default there are none, and large tasks outweigh others."""
    examples: Positive | None = None
    """Also write `examples.jsonl`, records for `bon-train sft`: this many training prompts of each
    task with a right answer, by which a policy learns the form of short answers. `languages` has
    none, because its generated answers are not all good grammar."""
    gsm8k: Path | None = None
    """A file of GSM8K as published (`question`, `answer`). Its questions are written to
    `gsm8k.jsonl`, apart from the split: whether to train on them is for you to say."""

    @field_validator("only")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("at least one task is expected")
        return value
