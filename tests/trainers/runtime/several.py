"""Runs several commands of `bon-train` in turn, for torchrun takes longer to start than they do.

One more command is ``cut SOURCE TARGET``: TARGET becomes what the run in SOURCE had left if it had
been killed while it made its last checkpoint.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from tests.waiting import wait_until
from trainers.cli import main


def cut(source: Path, target: Path) -> None:
    """Once for all processes; the others wait for the first."""
    if os.environ["RANK"] == "0":
        copy = target.with_suffix(".copy")
        shutil.copytree(source, copy)
        last = max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
        shutil.rmtree(last)
        copy.rename(target)
    wait_until(target.exists)


if __name__ == "__main__":
    for command in sys.argv[1:]:
        words = shlex.split(command)
        if words[0] == "cut":
            cut(*map(Path, words[1:]))
        elif code := main(words):
            sys.exit(code)
