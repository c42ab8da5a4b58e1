"""What pip on this machine knows about its package index, for the pip inside an image's build.

A build does not see this machine's pip.conf, nor the folders and certificates that it names. The
settings are handed to it as a build secret, which leaves no trace in the image, and the local files
as read-only mounts. Standard library only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# What says where packages come from. Caches, target folders and the like are this machine's own.
INDEX_SETTINGS = frozenset(
    (
        "cert",
        "client-cert",
        "default-timeout",
        "extra-index-url",
        "find-links",
        "index-url",
        "no-index",
        "proxy",
        "retries",
        "timeout",
        "trusted-host",
    )
)


@dataclass(frozen=True)
class PipSettings:
    """What one build is given."""

    values: Mapping[str, str]

    @property
    def text(self) -> str:
        """As a pip.conf; a value of several lines is a list."""
        indented = {name: "\n    ".join(value.split()) for name, value in self.values.items()}
        lines = [f"{name} = {indented[name]}" for name in sorted(indented)]
        return "\n".join(["[global]", *lines, ""])

    @property
    def local_paths(self) -> list[Path]:
        """Files and folders of this machine that the values name."""
        words = [word for value in self.values.values() for word in value.split()]
        found = {path for word in words for path in _local(word)}
        return sorted(path for path in found if path.exists())


def _local(word: str) -> Iterable[Path]:
    if word.startswith("file://"):
        path = Path(word.removeprefix("file://").removeprefix("localhost"))
        # The pages of a local index lead to files in a folder beside its own.
        yield path.parent if path.parent != Path("/") else path
    elif word.startswith("/"):
        yield Path(word)


def parse(listing: str) -> PipSettings:
    """Reads what `pip config list` printed: `section.name='value'` each line."""
    values: dict[str, str] = {}
    # pip's own order: the general section, the command's, the environment.
    for section in ("global", "install", ":env:"):
        for line in listing.splitlines():
            key, equals, literal = line.partition("=")
            if equals and key.startswith(f"{section}."):
                name = key.removeprefix(f"{section}.").replace("_", "-").lower()
                values[name] = str(ast.literal_eval(literal))
    return PipSettings({name: values[name] for name in values if name in INDEX_SETTINGS})


def settings() -> PipSettings:
    """Of the interpreter that runs this; without pip it is the defaults."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return parse(listing.stdout)
