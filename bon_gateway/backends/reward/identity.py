"""Tells whether a reward still gives the numbers that a command has kept.

Its identity is a hash of its settings and of the content of what they name: files such as a
template, the folders of models, and the modules of functions. It does not see what such a module
imports, nor the weights behind an address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from bon_common.hooks import hook_files
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings

OF_THE_CONNECTION = ("ca_file", "client_cert", "client_key")
"""Settings whose files decide no reward. A key is not read without need."""


def reward_identity(
    name: str, rewards: Mapping[str, RewardSettings | ComposedRewardSettings]
) -> bytes:
    """Of one of ``rewards``: its own settings, or those of all if it joins others."""
    joins = isinstance(rewards[name], ComposedRewardSettings)
    counted = rewards if joins else {name: rewards[name]}
    own = [
        file
        for one in counted.values()
        if isinstance(one, RewardSettings)
        for file in one.own_files
    ]
    return settings_identity({n: one.model_dump(mode="json") for n, one in counted.items()}, own)


def settings_identity(told: Mapping[str, Any], own_files: Iterable[Path] = ()) -> bytes:
    """The identity that follows from these settings, in the form of JSON. ``own_files`` also decide
    the numbers."""
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
    for text in sorted({*_texts(told)}):
        for file in (Path(text), *hook_files(text)):
            digest.update(_content(file))
    for file in own_files:
        digest.update(_content(file))
    return digest.digest()


def _texts(told: Any) -> Iterator[str]:
    """Every text that may name a file, so that a new setting cannot be forgotten here."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, Mapping):
        for key, value in told.items():
            if key not in OF_THE_CONNECTION:
                yield from _texts(value)
    elif isinstance(told, list):
        for value in told:
            yield from _texts(value)


def _content(path: Path) -> bytes:
    """A hash of a file or of a model's folder; empty if it is neither."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        if path.is_dir() and any(path.glob("*config.json")):
            return hashlib.sha256(orjson.dumps([*_listing(path)])).digest()
    except (OSError, ValueError):
        # A long text, or one with a zero byte, is no path. A file that cannot be read is refused by
        # what uses it.
        pass
    return b""


def _listing(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Weights are too large to read, so sizes and times stand for the content."""
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        # What a loader writes there.
        kept = any(part.startswith((".", "__pycache__")) for part in within.parts)
        if path.is_file() and not kept:
            status = path.stat()
            yield str(within), status.st_size, status.st_mtime_ns
