"""Reads the servers' API documents."""

from __future__ import annotations

from typing import Any


def resolved(spec: Any, node: Any) -> Any:
    """``node`` with what its references stand for."""
    if isinstance(node, dict) and "$ref" in node:
        return resolved(spec, spec["components"]["schemas"][node["$ref"].rpartition("/")[2]])
    if isinstance(node, dict):
        return {key: resolved(spec, value) for key, value in node.items()}
    return [resolved(spec, value) for value in node] if isinstance(node, list) else node
