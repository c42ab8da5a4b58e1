"""Steps for the tests of `run_steps`. Each process that runs one imports this module, and it
imports next to nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from trainers.base.errors import DataError


def write(path: str, seconds: float = 0.0) -> dict[str, Any]:
    """Append a line to a file, after a while; the process and what the file held before."""
    time.sleep(seconds)
    before = Path(path).read_text() if Path(path).exists() else ""
    with Path(path).open("a") as out:
        out.write("x")
    print("printed")
    os.write(2, b"written past python\n")
    return {"before": before, "process": os.getpid()}


def refuse(place: str) -> dict[str, Any]:
    raise DataError(f"{place}: no good")


def break_off() -> dict[str, Any]:
    raise KeyError("gone")


def die() -> dict[str, Any]:
    os._exit(3)


def hang(path: str) -> dict[str, Any]:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def start_and_hang(path: str) -> dict[str, Any]:
    """Run a step that hangs, as the main process of a demo does."""
    from trainers.demo.workers import PlanStep, run_steps

    steps = [PlanStep("hang", f"{__name__}:hang", {"path": path})]
    run_steps(steps, 1, Path(path).parent / "inner")
    return {}
