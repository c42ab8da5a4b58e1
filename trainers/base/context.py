"""How a command was called, beside its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
TERMINATED = 143
"""Exit code after SIGTERM."""


@dataclass(frozen=True)
class RunContext:
    """How a command was called, beside its settings."""

    command: str
    """The command line, for the model card."""
    dry_run: bool = False
    """Show one prepared example with its mask, and stop before anything is written."""
    resume: bool = False
    """Go on from the newest complete checkpoint in the output folder."""
    overwrite: bool = False
    """Replace an output that exists."""
    show: Callable[[str], None] = print
    """Where text for the user goes."""
