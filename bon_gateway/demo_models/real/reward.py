"""Makes the reward model of the real demo: the shipped adapter, merged once into the real model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from bon_common.publish import publish
from bon_gateway import demo_models
from bon_gateway.demo_models.real.facts import (
    FOLDER,
    HUB_NAME,
    HUB_WEIGHTS_SHA256,
    NAME,
    PACKAGE,
    REWARD_FOLDER,
    SOURCE,
    TOKENIZER,
    UNPACKED_SHA256,
    WEIGHTS,
    RealModelError,
)
from bon_gateway.demo_models.real.files import alone, sha256
from bon_gateway.demo_models.real.make import make

PARTS = ("adapter_config.json", "adapter_model.safetensors", "rm_meta.json")
"""What an adapter's folder must have."""
BASES = {HUB_NAME: HUB_WEIGHTS_SHA256, PACKAGE: UNPACKED_SHA256}
"""The hash of a base's weights, by where it came from; `make` has checked them."""


def make_demo(show: Callable[[str], None], environ: Mapping[str, str], instead: str) -> None:
    """Make the folders of the real demo, where they are not there already. Raises RealModelError;
    the line about a download ends with `instead`."""
    adapter = demo_models.real_adapter_path()
    require_adapter(adapter)  # without it there is no use in a download
    make(FOLDER, show, environ, instead)
    make_reward(FOLDER, adapter, REWARD_FOLDER, show)


def make_reward(base: Path, adapter: Path, folder: Path, show: Callable[[str], None]) -> None:
    """Make `folder`, unless it was made of this base and this adapter.

    Raises RealModelError for an adapter that is missing or does not fit, a full disk, or a folder
    that holds something else.
    """
    require_adapter(adapter)
    try:
        wanted = _made_of(base, adapter)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            if _is_made_of(folder, wanted):
                return
            if folder.exists() and not (folder / SOURCE).exists():
                raise RealModelError(f"{folder}: holds something else; move it away")
            _make(base, adapter, folder, wanted)
            show(f"wrote {folder} ({_bytes(folder) // 10**6} MB), the reward model on {NAME}")
    except OSError as error:
        raise RealModelError(f"{folder}: {error.strerror or error}") from error


def require_adapter(adapter: Path) -> None:
    """Raises RealModelError for a folder that is not there or not whole."""
    missing = [name for name in PARTS if not (adapter / name).is_file()]
    if missing:
        raise RealModelError(f"its reward model cannot be made: {adapter} has no {missing[0]}")


def _make(base: Path, adapter: Path, folder: Path, wanted: Mapping[str, str]) -> None:
    # What runs a model imports much, and most starts find the folder made.
    from bon_gateway.demo_models.real.merge import merge

    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        merge(base, adapter, partial)
        source: dict[str, str | int] = {**wanted, "bytes": _bytes(partial)}
        (partial / SOURCE).write_text(json.dumps(source) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(
            f"# Reward model on {NAME}\n\nThe adapter that comes with bon-gateway, merged. Made by "
            "`bon-gateway serve --demo real`, and made again if adapter or model change.\n",
            encoding="utf-8",
        )
        publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _made_of(base: Path, adapter: Path) -> dict[str, str]:
    source = str(json.loads((base / SOURCE).read_text(encoding="utf-8"))["from"])
    every = hashlib.sha256()
    for name in (*PARTS, *TOKENIZER):
        every.update(f"{name} {sha256(adapter / name)}\n".encode())
    return {"from": source, "base": BASES[source], "adapter": every.hexdigest()}


def _is_made_of(folder: Path, wanted: Mapping[str, str]) -> bool:
    """Whether the folder is there and of this make. It was whole when it got its name, so the size
    of the weights is enough to look at; to hash them takes seconds."""
    try:
        source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
        return bool(source == {**wanted, "bytes": _bytes(folder)})
    except (OSError, ValueError):
        return False


def _bytes(folder: Path) -> int:
    return (folder / WEIGHTS).stat().st_size
