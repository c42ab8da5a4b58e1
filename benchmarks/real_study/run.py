"""`make real-study`: run the steps, go on where the last call stopped.

Beside each step lies a mark (`steps/NAME.json`) with the hash of all that decides what comes out of
it: its commands, the settings files, and the marks of the steps that it needs. A step whose mark is
whole and has that hash is skipped. One that was stopped goes on, and one whose settings have
changed begins anew, with all that needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real_study.layout import ROOT, Layout
from real_study.plan import Command, StudyStep, command_line

STOPPED = 75
"""Exit code where `minutes` were over: more is to do."""
GRACE_S = 120.0
"""How long a command may take to write what it has, once it is asked to stop."""
TAG_LETTERS = 10


class StepFailedError(Exception):
    """A command of a step ended with another code than 0."""


@dataclass(frozen=True)
class Mark:
    """What is known of a step."""

    hash: str
    finished: bool
    seconds: float
    """Over all calls that worked on it."""

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(vars(self)) + "\n", encoding="utf-8")
        partial.replace(path)


def read_mark(path: Path) -> Mark | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Mark(**found)


def hashes(
    steps: Iterable[StudyStep], absent: Collection[str] = (), root: Path = ROOT
) -> dict[str, str]:
    """Of each step, by its name. Where the repository lies has no part in it. What needs an
    `absent` step does without."""
    found: dict[str, str] = {}
    for step in steps:
        parts = {
            "commands": [list(command.arguments) for command in step.commands],
            "files": [(root / name).read_text(encoding="utf-8") for name in step.reads],
            "draws": step.draws,
            "needs": [found[name] for name in step.needs if name not in absent],
        }
        found[step.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


def tag_of(step: StudyStep, known: Mapping[str, str]) -> str:
    """What figures of a measuring step depend on: steps that draw parts of one pool share it."""
    parts = [step.draws, *(known[name] for name in step.needs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:TAG_LETTERS]


def wanted(steps: Sequence[StudyStep], only: Sequence[str]) -> list[StudyStep]:
    """Those of these names, or all; ValueError for a name that no step has."""
    known = {step.name for step in steps}
    for name in only:
        if name not in known:
            raise ValueError(f"there is no step {name!r}; there are {', '.join(sorted(known))}")
    return [step for step in steps if not only or step.name in only]


class Study:
    """Runs steps of a layout."""

    def __init__(
        self, layout: Layout, steps: Sequence[StudyStep], show: Callable[[str], None] = print
    ) -> None:
        self._layout = layout
        self._steps = steps
        self._show = show
        self._ends: float | None = None

    @property
    def _hashes(self) -> dict[str, str]:
        """As things are now: a step that may be left out counts once it is done."""
        optional = [step for step in self._steps if step.environment is not None]
        marks = {step.name: read_mark(self._path(step.name)) for step in optional}
        absent = {name for name, mark in marks.items() if mark is None or not mark.finished}
        return hashes(self._steps, absent)

    def _path(self, name: str) -> Path:
        return self._layout.folder / "steps" / f"{name}.json"

    def done(self, name: str) -> bool:
        mark = read_mark(self._path(name))
        return mark is not None and mark.finished and mark.hash == self._hashes[name]

    def left_out(self, step: StudyStep) -> bool:
        """Whether it can do without, and has to."""
        absent = step.environment is not None and not os.environ.get(step.environment)
        return absent and not self.done(step.name)

    def take(self, names: Sequence[str]) -> None:
        """Mark steps as done whose outputs were made by hand."""
        for step in wanted(self._steps, names):
            Mark(self._hashes[step.name], finished=True, seconds=0.0).write(self._path(step.name))

    def listed(self) -> str:
        """A line for each step: the minutes that are expected, and those that it took."""
        lines = [f"{'step':14} {'minutes':>7} {'took':>6}  state"]
        for step in self._steps:
            mark = read_mark(self._path(step.name))
            took = "" if mark is None else f"{mark.seconds / 60:.1f}"
            lines.append(f"{step.name:14} {step.minutes:7g} {took:>6}  {self._state(step, mark)}")
        total = sum(step.minutes for step in self._steps)
        return "\n".join([*lines, f"{'all':14} {total:7g}"])

    def _state(self, step: StudyStep, mark: Mark | None) -> str:
        if self.left_out(step):
            return f"left out: {step.environment} is not set"
        if mark is None:
            return "to do"
        if mark.hash != self._hashes[step.name]:
            return "to do again: settings have changed"
        return "done" if mark.finished else "stopped; goes on"

    def run(self, only: Sequence[str] = (), minutes: float | None = None) -> int:
        """Run what is to do; 0, or STOPPED if `minutes` were over before. Raises StepFailedError,
        and ValueError for a step that needs one that has not been run."""
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes
        for step in wanted(self._steps, only):
            if self.left_out(step):
                self._show(f"{step.name}: left out, {step.environment} is not set")
                continue
            if self.done(step.name):
                self._show(f"{step.name}: done")
                continue
            known = {one.name: one for one in self._steps}
            missing = [
                name for name in step.needs if not (self.done(name) or self.left_out(known[name]))
            ]
            if missing:
                raise ValueError(f"{step.name} needs {', '.join(missing)}, to be run before it")
            if not self._run(step):
                self._show(f"{step.name}: stopped after {minutes:g} minutes; call again to go on")
                return STOPPED
        return 0

    def _run(self, step: StudyStep) -> bool:
        """Whether it ended, rather than being stopped."""
        path, now = self._path(step.name), self._hashes[step.name]
        mark = read_mark(path)
        goes_on = mark is not None and mark.hash == now
        spent = mark.seconds if mark is not None and goes_on else 0.0
        Mark(now, finished=False, seconds=spent).write(path)
        how = "going on" if goes_on else "anew" if mark is not None else "begun"
        self._show(f"{step.name}: {how}, about {step.minutes:g} minutes in all")
        begun = time.monotonic()
        try:
            for command in step.commands:
                more = command.resume if goes_on else command.anew if mark is not None else ()
                tag = ("--tag", tag_of(step, self._hashes)) if command.tagged else ()
                if not self._command(step, command, [*more, *tag]):
                    return False
        finally:
            took = spent + time.monotonic() - begun
            Mark(now, finished=False, seconds=took).write(path)
        Mark(now, finished=True, seconds=took).write(path)
        self._show(f"{step.name}: done after {took / 60:.1f} minutes")
        return True

    def _command(self, step: StudyStep, command: Command, more: Sequence[str]) -> bool:
        """Run one command; its lines go to `logs/STEP.log`. Whether it ended by itself."""
        log = self._layout.folder / "logs" / f"{step.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        line = command_line(command, more)
        paths = [str(ROOT / "benchmarks"), str(ROOT)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        with (
            log.open("ab") as out,
            subprocess.Popen(
                line, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                code = process.wait(self._left())
            except subprocess.TimeoutExpired:
                self._stop(process)
                return False
            except BaseException:
                self._stop(process)
                raise
        if code != 0:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise StepFailedError("\n".join([*tail, f"{step.name} failed with {code}; see {log}"]))
        return True

    def _left(self) -> float | None:
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.1)

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        """SIGTERM, at which every command writes what it has."""
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
