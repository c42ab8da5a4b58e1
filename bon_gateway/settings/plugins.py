"""Strategies and reward models from other packages, and functions, that the settings file names.

A package offers its settings classes as entry points (``bon_gateway.strategies`` and
``bon_gateway.rewards``). The entry point's name is the ``type`` in the settings file. Only what the
file names is imported. The environment and flags may change the settings of a plugin, but they may
not name code, and neither may a request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from bon_common.settings.errors import SettingsError, dotted, explain
from bon_common.settings.places import KeyPath
from bon_common.settings.sources import SettingsTree
from bon_gateway.backends.reward.registry import COMPOSED
from bon_gateway.backends.reward.registry import KINDS as REWARD_KINDS
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.sections.base import PATTERNS, Component, type_name
from bon_gateway.strategies.registry import KINDS as STRATEGY_KINDS
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.verifiers.registry import REWARDS as VERIFIER_REWARDS

CODE = "function"
"""The key whose value names code to run."""


@dataclass(frozen=True, slots=True)
class _PluginGroup:
    """The entry points for one kind of component."""

    name: str
    kinds: tuple[type[Component], ...]
    base: type[Component]

    @property
    def known(self) -> frozenset[str]:
        return frozenset(type_name(kind) for kind in self.kinds)


STRATEGIES = _PluginGroup("bon_gateway.strategies", STRATEGY_KINDS, StrategySettings)
REWARDS = _PluginGroup(
    "bon_gateway.rewards", (*REWARD_KINDS, *VERIFIER_REWARDS, *COMPOSED), RewardSettings
)


def load_plugins(tree: SettingsTree, config: str | None) -> None:
    """Replace the sections of plugins in ``config``, the settings file, by their own settings
    objects.

    Raises SettingsError for a plugin that cannot be used, and for code that is not named in the
    file.
    """
    for group, path, holder in list(_places(tree.root)):
        section = holder[path[-1]]
        for below in _code_in(section):
            _is_of_file(tree, (*path, *below), config)
        name = section.get("type")
        if not isinstance(name, str) or name in group.known:
            continue
        found = [*entry_points(group=group.name, name=name)]
        if found:
            _is_of_file(tree, (*path, "type"), config)
            kind = _loaded(tree, path, group, found)
            holder[path[-1]] = _settings(tree, path, section, kind)
    for name, model in _map(tree.root.get("models")).items():
        for below in _code_in({"verifier": _map(model).get("verifier")}):
            _is_of_file(tree, ("models", name, *below), config)


def _places(root: dict[str, Any]) -> Iterator[tuple[_PluginGroup, KeyPath, dict[Any, Any]]]:
    """Sections that may be a plugin's: path, and the map that holds the section. Values that are
    not maps are refused by the tree later."""
    for key in ("rewards", "score_by"):
        rewards = _map(root.get(key))
        for name, reward in rewards.items():
            if isinstance(reward, dict):
                yield REWARDS, (key, name), rewards
    for name, model in _map(root.get("models")).items():
        if isinstance(_map(model).get("strategy"), dict):
            yield STRATEGIES, ("models", name, "strategy"), model
    strategies = _map(root.get("strategies"))
    for name, strategy in strategies.items():
        if isinstance(strategy, dict):
            yield STRATEGIES, ("strategies", name), strategies


def _code_in(section: dict[Any, Any]) -> Iterator[KeyPath]:
    """Where the section, or one within it, names code."""
    if CODE in section:
        yield (CODE,)
    for key, inner in section.items():
        if CODE in _map(inner):
            yield (key, CODE)
        for place, one in enumerate(inner if isinstance(inner, list) else ()):
            if CODE in _map(one):
                yield (key, place, CODE)


def _map(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _is_of_file(tree: SettingsTree, path: KeyPath, config: str | None) -> None:
    source = tree.source_of(path)
    if source != config:
        raise SettingsError(source, dotted(path), "only the settings file may name code to run")


def _loaded(
    tree: SettingsTree, path: KeyPath, group: _PluginGroup, found: list[EntryPoint]
) -> type[Component]:
    """The plugin's settings class."""
    key, source = dotted((*path, "type")), tree.source_of((*path, "type"))
    if len(found) > 1:
        owners = ", ".join(sorted(point.dist.name if point.dist else "?" for point in found))
        raise SettingsError(source, key, f"several packages offer {found[0].name!r}: {owners}")
    [point] = found
    plugin = f"the plugin {point.value}"
    try:
        kind = point.load()
    except Exception as error:
        raise SettingsError(source, key, f"{plugin} cannot be loaded: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, group.base)):
        wanted = f"{group.base.__module__}.{group.base.__name__}"
        raise SettingsError(source, key, f"{plugin} is not a subclass of {wanted}")
    if type_name(kind) != point.name:
        raise SettingsError(source, key, f"{plugin} does not have type: Literal[{point.name!r}]")
    if isabstract(kind):
        raise SettingsError(source, key, f"{plugin} has no build")
    return kind


def _settings(
    tree: SettingsTree, path: KeyPath, section: dict[str, Any], kind: type[Component]
) -> Component:
    try:
        return kind.model_validate(section)
    except ValidationError as error:
        below, reason = explain(error, kind, PATTERNS)
        place = (*path, *below)
        raise SettingsError(tree.source_of(place), dotted(place), reason) from None
