"""The one place that reads settings from outside: a YAML file, the environment, flags.

Later ones win. Whatever is wrong becomes a SettingsError that says where it came from, which key
it is, and what is expected; ``settings_errors`` words it. What the settings mean is the business of
``settings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bon_common.settings.yaml import YamlError, read_yaml
from bon_gateway.settings import demo
from bon_gateway.settings.tree import Settings
from bon_gateway.settings_errors import KeyPath, SettingsError, dotted, explain

__all__ = ["ENV_PREFIX", "SettingsError", "load", "parse_value"]

ENV_PREFIX = "BON_GATEWAY__"
NAMED = ("policies", "rewards", "models")
"""The maps whose keys are names that the operator chose."""

Override = tuple[str, str, object]
"""Where it came from (``--port``), the dotted key, the value."""


def load(
    config: Path | None, environ: Mapping[str, str], overrides: Sequence[Override] = ()
) -> Settings:
    """Settings from a file, then the environment, then flags.

    Without any policy, reward and model the embedded default's are taken. Raises SettingsError for
    the first problem.
    """
    tree = _Tree()
    if config is not None:
        tree.add((), _read_file(config), str(config))
    for name in sorted(environ):
        if name.upper().startswith(ENV_PREFIX):
            tree.override(f"environment {name}", *_from_environment(name, environ[name]))
    for source, key, value in overrides:
        tree.override(source, key.split("."), value)
    if not any(tree.root.get(section) for section in NAMED):
        for section, named in demo.tree().items():
            tree.add((section,), named, demo.SOURCE)
    try:
        return Settings.model_validate(tree.root)
    except ValidationError as error:
        path, reason = explain(error, tree.root, Settings)
        raise SettingsError(tree.source_of(path), dotted(path), reason) from None


def parse_value(source: str, key: str, text: str) -> object:
    """A value as YAML reads it. Raises SettingsError."""
    try:
        return read_yaml(text)
    except YamlError as error:
        raise SettingsError(source, key, f"not YAML: {error}") from None


class _Tree:
    """The settings as plain maps, and where each part of them came from."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._sources: dict[KeyPath, str] = {}

    def add(self, path: KeyPath, value: object, source: str) -> None:
        """Set ``path`` to ``value``, forgetting what was beneath it."""
        node: Any = self.root
        for part in path[:-1]:
            node = node[part]
        own = _copy(value)
        if path:
            node[path[-1]] = own
        elif isinstance(own, dict):
            self.root = own
        for known in [known for known in self._sources if known[: len(path)] == path]:
            del self._sources[known]
        for below in _paths(value, path):
            self._sources[below] = source

    def override(self, source: str, parts: Sequence[str], value: object) -> None:
        """Set one key, making the maps on its way. Raises SettingsError if one is no map."""
        path: KeyPath = ()
        node: Any = self.root
        rest = list(parts)
        if not all(rest):
            raise SettingsError(source, ".".join(parts), "a part of the key is empty")
        while True:
            if not isinstance(node, dict):
                raise SettingsError(source, ".".join(parts), f"{dotted(path)} is not a mapping")
            name, rest = _next_name(node, rest)
            path = (*path, name)
            if not rest:
                break
            if node.get(name) is None:
                self.add(path, {}, source)
            node = node[name]
        self.add(path, value, source)

    def source_of(self, path: KeyPath) -> str:
        """What set a key, or something beneath it, last; for one that is missing, what it is
        missing from."""
        within = [source for known, source in self._sources.items() if known[: len(path)] == path]
        if within:
            return within[-1]
        above = (path[:length] for length in range(len(path) - 1, -1, -1))
        return next((self._sources[at] for at in above if at in self._sources), "settings")


def _copy(value: object) -> object:
    """YAML's aliases are one object at several places; setting one must not set the others."""
    if isinstance(value, dict):
        return {key: _copy(below) for key, below in value.items()}
    return value


def _paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _paths(below, (*path, key))


def _next_name(node: Mapping[str, Any], parts: list[str]) -> tuple[str, list[str]]:
    """The key of ``node`` that the parts begin with, and the parts after it.

    A name may hold dots, and the environment has no lower case, so what is there already decides.
    """
    for length in range(len(parts), 0, -1):
        wanted = ".".join(parts[:length])
        for known in node:
            if known == wanted or (wanted.islower() and known.lower() == wanted):
                return known, parts[length:]
    return parts[0], parts[1:]


def _from_environment(name: str, text: str) -> tuple[list[str], object]:
    parts = name[len(ENV_PREFIX) :].lower().split("__")
    return parts, parse_value(f"environment {name}", ".".join(parts), text)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(str(path), "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(str(path), "", "cannot be read: it is not UTF-8 text") from None
    except YamlError as error:
        raise SettingsError(str(path), "", f"not YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(str(path), "", "should be a mapping")
    return tree
