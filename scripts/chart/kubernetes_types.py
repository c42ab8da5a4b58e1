"""Kubernetes' own closed schemas of the types that values hold, so that a typo in a toleration is
refused before anything is sent. They come from the newest release that ``kubernetes-validate``
knows; descriptions are left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from kubernetes_validate.utils import latest_version

PREFIX = "io.k8s."


def definitions(schema: Any) -> dict[str, Any]:
    """Every type that a schema refers to, with those that they refer to."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema"
    source = folder / f"v{latest_version()}-local-strict" / "_definitions.json"
    known: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))["$defs"]
    found: dict[str, Any] = {}
    todo = list(_names(schema))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = _without_descriptions(known[name])
            todo += _names(found[name])
    return {name: _local(found[name]) for name in sorted(found)}


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        reference = str(node.get("$ref", "")).rsplit("/", 1)[-1]
        if reference.startswith(PREFIX):
            yield reference
        for part in node.values():
            yield from _names(part)
    elif isinstance(node, list):
        for part in node:
            yield from _names(part)


def _local(node: Any) -> Any:
    """The same, with references to where the definitions stand in the chart's schema."""
    if isinstance(node, dict):
        local = {key: _local(part) for key, part in node.items()}
        if isinstance(local.get("$ref"), str):
            local["$ref"] = "#/$defs/" + local["$ref"].rsplit("/", 1)[-1]
        return local
    return [_local(part) for part in node] if isinstance(node, list) else node


def _without_descriptions(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_descriptions(part)
            for key, part in node.items()
            if not (key == "description" and isinstance(part, str))
            and not key.startswith("x-kubernetes")
        }
    return [_without_descriptions(part) for part in node] if isinstance(node, list) else node
