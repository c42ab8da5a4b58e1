"""How a command ends: with what it wrote, and the commands that may come next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from trainers.base.settings import Settings
from trainers.commands import Command


def ending(command: Command, settings: Settings) -> list[str]:
    """The last lines; none if nothing was written, as before a sheet is filled in."""
    written = [path.format(settings) for path in command.writes]
    written = [path for path in written if Path(path).exists()]
    if not written:
        return []
    then = [[word.format(settings) for word in line.split()] for line in command.then]
    # A settings file that is not there yet is named by its recipe.
    names = [Path(words[words.index("--config") + 1]) for words in then if "--config" in words]
    missing = [f"bon-train init {name.stem}" for name in names if not name.exists()]
    hint = [f"({' and '.join(missing)} write{'s' if len(missing) == 1 else ''} the settings)"]
    lines = [*map(shlex.join, then), *(hint if missing else [])]
    return [*_block("wrote", written), *_block("next", lines)]


def _block(title: str, lines: Sequence[str]) -> list[str]:
    """The first line behind the title, the others below it."""
    return [f"{f'{title}:' if not index else '':6} {line}" for index, line in enumerate(lines)]
