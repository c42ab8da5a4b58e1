"""How a command ends: with what it wrote, and the commands that may come next."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from trainers.base.settings import Settings
from trainers.commands import Command


def ending(command: Command, settings: Settings) -> list[str]:
    """The last lines; none if nothing was written, as before a sheet is filled in."""
    written = [path.format(settings) for path in command.writes]
    absent = {path for path in written if not Path(path).exists()}
    written = [path for path in written if path not in absent]
    if not written:
        return []
    then = [
        [_value_or_null(word.format(settings), absent) for word in line.split()]
        for line in command.then
    ]
    # Leave out a command that needs a part the run lacks, such as a reward's folder.
    then = [words for words in then if "None" not in words]
    # A settings file that is not there yet is named by its recipe.
    names = [Path(words[words.index("--config") + 1]) for words in then if "--config" in words]
    missing = [f"bon-train init {name.stem}" for name in names if not name.exists()]
    hint = [f"({' and '.join(missing)} write{'s' if len(missing) == 1 else ''} the settings)"]
    lines = [*map(shlex.join, then), *(hint if missing else [])]
    return [*_block("wrote", written), *_block("next", lines)]


def _value_or_null(word: str, absent: Collection[str]) -> str:
    """`key=null` for a setting that this run has not, or for a file that it did not write: the
    next command's settings file may name another one."""
    key, is_setting, value = word.partition("=")
    return f"{key}=null" if is_setting and (value == "None" or value in absent) else word


def _block(title: str, lines: Sequence[str]) -> list[str]:
    """The first line behind the title, the others below it."""
    return [f"{f'{title}:' if not index else '':6} {line}" for index, line in enumerate(lines)]
