"""A progress bar with rate and remaining time where somebody is watching, else a line now and then:
a pod's log shows that a run is alive, and when it will end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PAUSE_S = 30.0
"""Between two lines."""


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


class _Lines(Progress):
    """In place of the bar, where there is no terminal."""

    def __init__(self, noun: str, stream: TextIO, pause_s: float) -> None:
        super().__init__(disable=True)
        self._noun, self._stream, self._pause_s = noun, stream, pause_s
        self._began: tuple[float, float] | None = None
        """When the first step began, and how many were done then."""
        self._said = time.monotonic()

    def update(self, task_id: TaskID, *args: Any, **fields: Any) -> None:
        super().update(task_id, *args, **fields)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        now, task = time.monotonic(), self._tasks[task_id]
        if self._began is None:
            self._began = (now, task.completed)
        if now - self._said < self._pause_s or task.total is None:
            return
        self._said = now
        since, before = self._began
        text = f"{task.completed:g} of {task.total:g} {self._noun}"
        if task.description not in (self._noun, ""):
            text = f"{task.description}: {text}"
        if task.completed > before:
            left = (task.total - task.completed) * (now - since) / (task.completed - before)
            text += f", about {timedelta(seconds=round(left))} to go"
        print(text, file=self._stream, flush=True)


def make_bar(noun: str, stream: TextIO | None = None, *, pause_s: float = PAUSE_S) -> Progress:
    """A bar of steps called `noun`, on stderr unless said otherwise. If that is no terminal, the
    bar's owner shows a line every `pause_s` seconds."""
    stream = stream or sys.stderr
    if not stream.isatty():
        return _Lines(noun, stream, pause_s)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(noun),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )


@contextmanager
def progress(
    noun: str,
    total: int,
    done: int = 0,
    stream: TextIO | None = None,
    *,
    pause_s: float = PAUSE_S,
) -> Iterator[Advance]:
    """Yields a function to call after each step."""
    with make_bar(noun, stream, pause_s=pause_s) as bar:
        task = bar.add_task(noun, total=total, completed=done)
        bar.update(task)  # so that the first step has a beginning

        def advance(steps: int = 1) -> None:
            bar.advance(task, steps)

        yield advance
