"""Checkpoints of a run: `checkpoints/checkpoint-N` is the whole state after N updates.

A checkpoint is written under another name and renamed when it is complete. So every folder of that
name can be resumed from, even after the run was killed.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bon_common.publish import publish
from trainers.base.errors import RunError, SettingsError
from trainers.base.files import PARTIAL, disk_errors, remove_partial

NAME = "checkpoint-"
SETTINGS = "settings.json"
"""The settings that a checkpoint was made with, beside its weights."""


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def steps(self) -> list[int]:
        """The updates after which there is a checkpoint, in order."""
        names = (path.name.removeprefix(NAME) for path in self.folder.glob(f"{NAME}*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def path(self, step: int) -> Path:
        return self.folder / f"{NAME}{step}"

    def newest(self) -> Path | None:
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def begin(self) -> Path:
        """Where to write the next one."""
        return self.folder / f"{PARTIAL}checkpoint"

    def finish(self, step: int, settings: dict[str, Any]) -> None:
        """Give what stands in `begin()` its name, and remove the oldest beyond the number kept."""
        written = self.begin() / f"{NAME}{step}"
        with self.errors(step):
            (written / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")
            publish(written, self.path(step))
            self.begin().rmdir()
            for old in self.steps()[: -self._keep]:
                # Under another name first: half of a checkpoint must not look like one.
                doomed = self.folder / f"{PARTIAL}{NAME}{old}"
                self.path(old).rename(doomed)
                shutil.rmtree(doomed)

    def errors(self, step: int) -> Any:
        """Turn a failure to write the checkpoint into a RunError that names the last good one."""
        done = self.steps()
        last = f"the last good one is {self.path(done[-1])}" if done else "there is none before it"
        return disk_errors(f"{self.path(step)} ({last})")

    def start(self, *, resume: bool, settings: dict[str, Any]) -> Path | None:
        """The checkpoint to go on from, or None to begin at the start; clears what is half-written.

        Raises RunError if there are checkpoints but `resume` was not asked for, SettingsError if
        the newest was made with other settings.
        """
        remove_partial(self.folder)
        steps = self.steps()
        if not steps:
            return None
        newest = self.path(steps[-1])
        if not resume:
            raise RunError(
                f"{newest}: left by an earlier run; --resume goes on from it, "
                "--overwrite begins anew"
            )
        _require_equal(newest, settings)
        return newest


def stopped(newest: Path | None) -> str:
    """What a run that a signal ended says."""
    if newest is None:
        return "stopped before the first update was whole: --resume begins at the start"
    return f"stopped: {newest} is whole, and --resume goes on from it"


def _require_equal(checkpoint: Path, settings: dict[str, Any]) -> None:
    """A run that went on with other settings would equal no run at all."""
    try:
        before = json.loads((checkpoint / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{checkpoint}: not a checkpoint of bon-train: no {SETTINGS}") from error
    require_equal(before, settings, checkpoint)


def require_equal(before: Mapping[str, Any], now: Mapping[str, Any], what: Path) -> None:
    """Raise SettingsError, naming the first key that differs, if `what` cannot be resumed."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise SettingsError(
                f"{key}: {now.get(key)} cannot resume {what}, which was made with {before.get(key)}"
            )
