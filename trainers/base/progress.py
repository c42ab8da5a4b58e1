"""A progress bar with rate and remaining time, where somebody is watching."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    def __call__(self, steps: int = 1) -> None: ...


class _Rate(TextColumn):
    """Steps a second, or seconds a step where they are long."""

    def __init__(self, noun: str) -> None:
        super().__init__("")
        self._noun = noun

    def render(self, task: Task) -> str:  # type: ignore[override]  # rich takes text as well
        speed = task.finished_speed or task.speed
        if not speed:
            return ""
        return f"{speed:.2f} {self._noun}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


def make_bar(noun: str, stream: TextIO | None = None) -> Progress:
    """A bar of steps called `noun`, on stderr unless said otherwise; nothing if that is no
    terminal."""
    stream = stream or sys.stderr
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(noun),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        disable=not stream.isatty(),
    )


@contextmanager
def progress(
    noun: str, total: int, done: int = 0, stream: TextIO | None = None
) -> Iterator[Advance]:
    """Yields a function to call after each step."""
    with make_bar(noun, stream) as bar:
        task = bar.add_task(noun, total=total, completed=done)

        def advance(steps: int = 1) -> None:
            bar.advance(task, steps)

        yield advance
