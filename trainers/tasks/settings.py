"""The settings of `bon-train tasks`."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from trainers.base.settings import Settings


class TasksSettings(Settings):
    """Prompts with a known truth, in a file to train on and a file to measure with."""

    output: Path
    """Folder for `train.jsonl` and `held-out.jsonl`: lines of `{prompt, task}`, mixed."""
    only: tuple[str, ...] | None = None
    """The tasks to write, by name; by default all. `--dry-run` lists them."""
    gsm8k: Path | None = None
    """A file of GSM8K as published (`question`, `answer`). Its questions are written to
    `gsm8k.jsonl`, apart from the split: whether to train on them is for you to say."""

    @field_validator("only")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("at least one task is expected")
        return value
