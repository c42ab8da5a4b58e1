"""Shows the steps of a plan as they run: a bar for each, and a line when it has ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from trainers.demo.workers import PlanStep, Result


class Bars(Progress):
    """Bars on a terminal; everywhere else the lines alone. Its `watch` is for `run_steps`."""

    def __init__(self, count: int, show: Callable[[str], None]) -> None:
        """For `count` steps; `show` takes the lines."""
        super().__init__(
            TextColumn("{task.description:24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            disable=not sys.stderr.isatty(),
        )
        self._show = show
        self._shown: set[str] = set()
        self._bars: dict[str, TaskID] = {}
        self._all = self.add_task("all steps", total=count)

    def watch(self, running: Sequence[PlanStep], results: Mapping[str, Result]) -> None:
        for step in running:
            if step.name not in self._bars:
                # A step that cannot tell how far it is has a bar that only moves.
                total = None if step.progress is None else 1.0
                self._bars[step.name] = self.add_task(step.name, total=total)
            if step.progress is not None:
                self.update(self._bars[step.name], completed=step.progress())
        for name in [name for name in results if name not in self._shown]:
            self._shown.add(name)
            self.remove_task(self._bars.pop(name))
            self._show(f"{name}: {results[name].seconds:.0f} s")
        self.update(self._all, completed=len(results))
