"""Where the gateway's settings come from: a YAML file, the environment, flags; later ones win.

``tree`` says what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bon_common.settings.sources import Override, SettingsTree
from bon_gateway.sections.base import PATTERNS
from bon_gateway.settings import demo
from bon_gateway.settings.plugins import load_plugins
from bon_gateway.settings.tree import Settings

ENV_PREFIX = "BON_GATEWAY__"
NAMED = ("policies", "rewards", "models")
"""Sections whose keys are names that the operator chose."""


def load(
    config: Path | None,
    environ: Mapping[str, str],
    overrides: Iterable[Override] = (),
    default: demo.Demo = "toy",
) -> Settings:
    """Load and check the settings. Without any policy, reward and model those of the embedded
    default are taken. Raises SettingsError for the first problem."""
    tree = SettingsTree()
    if config is not None:
        tree.read(config)
    tree.environment(environ, ENV_PREFIX)
    tree.override(overrides)
    if not any(tree.root.get(section) for section in NAMED):
        for section, named in demo.tree(default).items():
            tree.add((section,), named, demo.SOURCE)
    load_plugins(tree, None if config is None else str(config))
    return tree.checked(Settings, PATTERNS)
