"""The shipped models with the first of their four layers alone.

A tuning run on them takes about half the CPU time. They serve tests of what a trainer does. Tests
of what a model says use the shipped ones.
"""

from __future__ import annotations

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path
from shutil import copytree

from safetensors.torch import load_file, save_file

from bon_gateway import demo_models

KEPT = "model.layers.0."


def policy_path() -> Path:
    return _made().joinpath("policy")


def reward_path() -> Path:
    return _made().joinpath("reward")


def _made() -> Path:
    return Path(_folder().name)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """It lasts as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="bon-small-models-")
    atexit.register(folder.cleanup)
    for source in (demo_models.policy_path(), demo_models.reward_path()):
        _cut(copytree(source, Path(folder.name) / source.name))
    return folder


def _cut(model: Path) -> None:
    config = json.loads((model / "config.json").read_text("utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}), "utf-8")
    weights = load_file(model / "model.safetensors")
    kept = {k: v for k, v in weights.items() if ".layers." not in k or k.startswith(KEPT)}
    save_file(kept, model / "model.safetensors", {"format": "pt"})
