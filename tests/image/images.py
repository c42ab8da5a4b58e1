"""Built images, as `scripts/image_check.py` has mounted them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Image:
    """A file system and docker's description of it."""

    target: str
    rootfs: Path
    description: dict[str, Any]

    @classmethod
    def read(cls, store: Path, target: str) -> Image:
        folder = store / target
        return cls(target, folder / "rootfs", json.loads((folder / "config.json").read_text()))

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.description["config"]
        return config

    @property
    def layers(self) -> list[str]:
        layers: list[str] = self.description["rootfs"]["diff_ids"]
        return layers

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @property
    def entrypoint(self) -> list[str]:
        return list(self.config["Entrypoint"])

    @property
    def command(self) -> list[str]:
        return list(self.config.get("Cmd") or [])

    @property
    def health_check(self) -> list[str]:
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", "a health check must not need a shell"
        return list(command)

    @property
    def packages(self) -> Path:
        """The folder of installed packages."""
        (folder,) = self.rootfs.glob("app/lib/python3.*/site-packages")
        return folder

    @property
    def user(self) -> tuple[int, int]:
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    def inside(self, path: Path) -> str:
        """The path that a process in the container sees."""
        return f"/{path.relative_to(self.rootfs)}"
