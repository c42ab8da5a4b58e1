"""Validates objects against the closed schemas of `kubernetes-validate`, each read once."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import all_versions
from referencing import Registry, Resource

NEWEST = str(all_versions()[-1])


def errors(found: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object, by path. Raises FileNotFoundError for a kind that this release
    of Kubernetes does not have."""
    validator = _validator(found["kind"], found["apiVersion"], version)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(found)]


@cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = _read(version, f"{kind.lower()}-{group}.json")
    registry = Resource.from_contents(schema) @ _definitions(version)
    return Draft202012Validator(schema, registry=registry)


@cache
def _definitions(version: str) -> Registry[Any]:
    registry: Registry[Any] = Registry()
    return Resource.from_contents(_read(version, "_definitions.json")) @ registry


def _read(version: str, name: str) -> Any:
    folder = f"v{version}.0-local-strict" if version.count(".") == 1 else f"v{version}-local-strict"
    source = files("kubernetes_validate") / "kubernetes-json-schema" / folder / name
    return json.loads(source.read_text(encoding="utf-8"))
