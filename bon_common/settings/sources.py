"""Settings from a YAML file, the environment and flags. Later ones win.

Every mistake becomes a SettingsError with its source, its key and what is expected; ``errors``
words it. What the settings mean is up to their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bon_common.settings.errors import SettingsError, dotted, explain, redact_tree
from bon_common.settings.places import KeyPath
from bon_common.settings.yaml import YamlError, read_yaml

Override = tuple[str, str, object]
"""Where it came from (``--port``), the dotted key, the value."""
Parse = Callable[[str, str, str], object]
"""Makes a value of a source, a dotted key and a text. Raises SettingsError."""

SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_text(path: Path, key: str = "") -> str:
    """A file's text. Raises SettingsError, with the ``key`` that names the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(str(path), key, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(str(path), key, "cannot be read: it is not UTF-8 text") from None


def parse_value(source: str, key: str, text: str) -> object:
    """A value as YAML reads it. Raises SettingsError."""
    try:
        return read_yaml(text)
    except YamlError as error:
        raise SettingsError(source, key, f"not YAML: {error}") from None


def parse_pairs(pairs: Iterable[str], parse: Parse = parse_value) -> list[Override]:
    """The values of ``--set KEY=VALUE``. Raises SettingsError."""
    overrides: list[Override] = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise SettingsError("--set", key or pair, "expected KEY=VALUE")
        overrides.append(("--set", key, parse("--set", key, text)))
    return overrides


def as_yaml(settings: BaseModel) -> str:
    """Settings as a YAML file, without the secrets that URLs in them may hold."""
    tree = redact_tree(settings.model_dump(mode="json"))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


class SettingsTree:
    """The settings as plain maps, and the source of each part."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._sources: dict[KeyPath, str] = {}

    def read(self, path: Path) -> None:
        """Begin with a file. Raises SettingsError."""
        self.add((), _read_file(path), str(path))

    def environment(
        self, environ: Mapping[str, str], prefix: str, parse: Parse = parse_value
    ) -> None:
        """Set the keys that variables with the prefix name; ``__`` separates the parts of a key.

        Raises SettingsError.
        """
        for name in sorted(environ):
            if name.upper().startswith(prefix):
                source, parts = f"environment {name}", name[len(prefix) :].lower().split("__")
                self._override(source, parts, parse(source, ".".join(parts), environ[name]))

    def override(self, overrides: Iterable[Override]) -> None:
        """Set dotted keys, and make the maps that lead to them. Raises SettingsError if something
        on the way is no map."""
        for source, key, value in overrides:
            self._override(source, key.split("."), value)

    def _override(self, source: str, parts: Sequence[str], value: object) -> None:
        path: KeyPath = ()
        node: Any = self.root
        key, rest = ".".join(parts), parts
        if not all(rest):
            raise SettingsError(source, key, "a part of the key is empty")
        while True:
            if not isinstance(node, dict):
                raise SettingsError(source, key, f"{dotted(path)} is not a mapping")
            name, rest = _next_name(node, rest)
            path = (*path, name)
            if not rest:
                break
            if node.get(name) is None:
                self.add(path, {}, source)
            node = node[name]
        self.add(path, value, source)

    def add(self, path: KeyPath, value: object, source: str) -> None:
        """Set ``path`` to ``value``, in place of all that was beneath it; the maps above exist."""
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

    def checked(
        self, settings: type[SettingsT], patterns: Mapping[str, str] = MappingProxyType({})
    ) -> SettingsT:
        """The validated settings. ``patterns`` has words for their regular expressions, such as
        "should be the name of an HTTP header". Raises SettingsError for the first problem."""
        try:
            return settings.model_validate(self.root)
        except ValidationError as error:
            path, reason = explain(error, settings, patterns)
            raise SettingsError(self.source_of(path), dotted(path), reason) from None

    def source_of(self, path: KeyPath) -> str:
        """The source that last set a key or something beneath it; for a missing key, the source of
        the section that lacks it."""
        within = [source for known, source in self._sources.items() if known[: len(path)] == path]
        if within:
            return within[-1]
        above = (path[:length] for length in range(len(path) - 1, -1, -1))
        return next((self._sources[at] for at in above if at in self._sources), "settings")


def _copy(value: object) -> object:
    """YAML's aliases are one object in several places; setting one must not set the others."""
    if isinstance(value, dict):
        return {key: _copy(below) for key, below in value.items()}
    return value


def _paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _paths(below, (*path, key))


def _next_name(node: Mapping[str, Any], parts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The key of ``node`` that the parts begin with, and the parts after it.

    A name may hold dots, and the environment has no lower case, so existing names decide.
    """
    for length in range(len(parts), 0, -1):
        wanted = ".".join(parts[:length])
        for known in node:
            if known == wanted or (wanted.islower() and known.lower() == wanted):
                return known, parts[length:]
    return parts[0], parts[1:]


def _read_file(path: Path) -> dict[str, Any]:
    tree = parse_value(str(path), "", read_text(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(str(path), "", "should be a mapping")
    return tree
