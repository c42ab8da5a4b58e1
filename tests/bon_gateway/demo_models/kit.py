"""Places where the real model cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

ALONE = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_CONSTRAINT": ""}
"""Variables with which pip reads nothing of this machine's configuration."""


def offline(links: Path) -> dict[str, str]:
    """An environment with no index and no hub: pip finds what lies in `links` alone."""
    return with_pip(f"--no-index --find-links {links}")


def with_pip(arguments: str) -> dict[str, str]:
    """An environment with no hub, in which pip gets these arguments."""
    return {**os.environ, **ALONE, "PIP_ARGS": arguments, "HF_HUB_OFFLINE": "1"}
