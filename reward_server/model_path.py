"""Whether a path can be a model, asked without torch, which takes seconds to import."""

from __future__ import annotations

import re
from pathlib import Path

from reward_server.errors import StartupError

HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")


def check_place(path: str) -> None:
    """Raises StartupError for a path that is neither a folder nor the name of a model on the hub.

    The library would take a missing folder for such a name, and explain how to write one.
    """
    place = Path(path)
    if place.exists():
        if not place.is_dir():
            raise StartupError("model", f"this is no folder: {path}")
    elif not HUB_NAME.fullmatch(path):
        raise StartupError("model", f"there is no such folder: {path}")
