"""Renders the chart with real Helm, and finds things in what comes out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="there is no wheel of Helm for this platform")

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "bon-gateway"
CASES = {path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*-values.yaml")}
EVERYTHING = Path(__file__).with_name("everything-values.yaml")
RELEASE = "demo"
NAMESPACE = "llm"

Object = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return values


def case(name: str) -> dict[str, Any]:
    return read(EVERYTHING if name == "everything" else CASES[name])


ALL_CASES = sorted([*CASES, "everything"])


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others laid over them, as Helm does with several files."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[key] = laid_over(inner, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def templates(values: Mapping[str, Any], release: str = RELEASE) -> dict[str, str]:
    """Rendered files by the name of their template."""
    return dict(_templates(json.dumps(values), release))


@cache
def _templates(values: str, release: str) -> dict[str, str]:
    with helm.Chart.load(CHART) as chart:
        rendered: dict[str, str] = chart.render(
            json.loads(values), name=release, namespace=NAMESPACE
        )
    return rendered


def render(values: Mapping[str, Any], release: str = RELEASE) -> list[Object]:
    """All objects, those of hooks too."""
    objects: list[Object] = copy.deepcopy(_objects(json.dumps(values), release))
    return objects


@cache
def _objects(values: str, release: str) -> list[Object]:
    return [
        document
        for name, text in sorted(_templates(values, release).items())
        if not name.endswith(".txt")
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if document is not None
    ]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [found for found in objects if found["kind"] == kind]


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in of_kind(objects, kind) if o["metadata"]["name"] == name]
    return found


def label(found: Object) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


def pod_templates(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that would run: what it belongs to, and its metadata and spec."""
    for found in objects:
        if found["kind"] == "Pod":
            yield label(found), found
        elif found["kind"] in ("Deployment", "Job"):
            yield label(found), found["spec"]["template"]
        elif found["kind"] == "CronJob":
            yield label(found), found["spec"]["jobTemplate"]["spec"]["template"]


def containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def labels(found: Object) -> dict[str, str]:
    return dict(found["metadata"].get("labels") or {})


def gateway_config(objects: list[Object], suffix: str = "gateway") -> str:
    """The settings file of a gateway."""
    config = named(objects, "ConfigMap", f"{RELEASE}-bon-gateway-{suffix}")
    return str(config["data"]["config.yaml"])
