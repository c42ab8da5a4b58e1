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


def names_any(config: Path) -> bool:
    """Whether the file names a policy, a reward or a model. Raises SettingsError."""
    tree = SettingsTree()
    tree.read(config)
    return _names_any(tree)


def _names_any(tree: SettingsTree) -> bool:
    return any(map(tree.root.get, NAMED))


def load(
    config: Path | None,
    environ: Mapping[str, str],
    overrides: Iterable[Override] = (),
    default: demo.Demo = "toy",
) -> Settings:
    """Load and check the settings. Without any policy, reward or model of the operator's, those of
    the embedded default are taken. The environment and flags may change parts of it.

    Raises SettingsError for the first problem.
    """
    overrides = tuple(overrides)
    tree = SettingsTree()
    if config is not None:
        tree.read(config)
    own = SettingsTree()
    own.environment(environ, ENV_PREFIX)
    own.override(overrides)
    embedded: Mapping[str, Mapping[str, object]] = {}
    if not _names_any(tree) and demo.changes_at_most(own.root, default):
        embedded = demo.tree(default)
    for section, named in embedded.items():
        tree.add((section,), named, demo.SOURCE)
    tree.environment(environ, ENV_PREFIX)
    tree.override(overrides)
    for section, named in embedded.items():
        if not tree.root[section]:  # emptied by a flag, which is no way to name models
            tree.add((section,), named, demo.SOURCE)
    load_plugins(tree, None if config is None else str(config))
    return tree.checked(Settings, PATTERNS)
