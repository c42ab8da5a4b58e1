"""Prints what the images install beside the project itself: its dependencies, and those of extras.

    image_requirements.py [EXTRA...]

Reads the pyproject.toml of the current folder. pip can install a project or its groups, but not a
project's dependencies alone; a list of them lets an image keep them in a layer of their own,
which a change of the source leaves as it is. Standard library only.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def requirements(pyproject: dict[str, Any], extras: Sequence[str]) -> list[str]:
    """Sorted, without repetitions. Raises KeyError for an extra that the project lacks."""
    project = pyproject["project"]
    wanted = set(project["dependencies"])
    for extra in extras:
        wanted.update(project["optional-dependencies"][extra])
    return sorted(wanted)


def main(extras: Sequence[str]) -> int:
    pyproject = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
    try:
        print("\n".join(requirements(pyproject, extras)))
    except KeyError as error:
        print(f"image_requirements: pyproject.toml has no {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
