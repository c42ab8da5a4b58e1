"""Reads the YAML of settings within bounds. Any text gives plain maps, lists and scalars, or a
YamlError with one line of reason.

PyYAML alone accepts what no settings need and what breaks code that walks the result: a map that
holds itself, aliases that multiply, depth beyond the interpreter's stack, keys that are no text,
numbers and dates that raise errors of their own.
"""

from __future__ import annotations

from typing import Any

import yaml

LARGEST_TEXT = 1 << 20
"""Characters."""
MOST_NODES = 50_000
"""Maps, lists and scalars. Each alias counts with everything it stands for."""
DEEPEST = 50
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
)
_PLAIN_TEXT = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
"""Types that YAML 1.1 gives some texts; no setting has them."""


class YamlError(Exception):
    """A text that cannot be read; the reason is one line."""


def read_yaml(text: str) -> object:
    """The value of one document; None for an empty one. Raises YamlError."""
    if len(text) > LARGEST_TEXT:
        raise YamlError(f"it is longer than {LARGEST_TEXT} characters")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Bounds(loader).check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise YamlError(_problem(error)) from None
    except RecursionError:
        raise YamlError(f"it is nested more than {DEEPEST} deep") from None
    finally:
        if loader is not None:
            loader.dispose()


def _problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}: {' '.join(str(error.problem).split())}"


def _refusal(node: yaml.Node, reason: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)


class _Loader(yaml.SafeLoader):
    pass


class _Bounds:
    """Checks the nodes of a document before they become objects."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._sizes: dict[int, int] = {}
        """By node; an alias is the same node again."""
        self._above: set[int] = set()

    def check(self, node: Any, depth: int = 0) -> int:
        """The number of nodes it stands for. Raises MarkedYAMLError."""
        known = self._sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in self._above:
            raise _refusal(node, "it holds itself")
        if depth >= DEEPEST:
            raise _refusal(node, f"it is nested more than {DEEPEST} deep")
        self._above.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            self._scalar(node)
            size = 1
        elif isinstance(node, yaml.MappingNode):
            self._tag(node)
            self._keys(node)
            size = 1 + sum(1 + self.check(value, depth + 1) for _, value in node.value)
        else:
            self._tag(node)
            size = 1 + sum(self.check(item, depth + 1) for item in node.value)
        if size > MOST_NODES:
            raise _refusal(node, f"it stands for more than {MOST_NODES} values")
        self._above.discard(id(node))
        self._sizes[id(node)] = size
        return size

    def _keys(self, node: yaml.MappingNode) -> None:
        """Refuses what YAML accepts: a key that is there twice, and a key that is no text."""
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal(key, "a key is no text")
            self._scalar(key)
            if key.tag != "tag:yaml.org,2002:str":
                raise _refusal(key, f"the key {key.value} is no text; put it in quotes")
            if key.value in seen:
                raise _refusal(key, f"the key {key.value!r} is there twice")
            seen.add(key.value)

    def _scalar(self, node: yaml.ScalarNode) -> None:
        if node.tag in _PLAIN_TEXT:
            node.tag = "tag:yaml.org,2002:str"
        self._tag(node)
        if "\0" in node.value:
            raise _refusal(node, "a text holds a null character")
        try:
            self._loader.construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            # The text does not fit its tag, or is a number of 5,000 digits.
            kind = node.tag.rpartition(":")[2]
            raise _refusal(node, f"{node.value[:40]!r} is no {kind}") from None

    def _tag(self, node: yaml.Node) -> None:
        if node.tag not in _TAGS:
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise _refusal(node, f"could not determine a setting for the tag {shown!r}")
