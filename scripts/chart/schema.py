"""Assembles values.schema.json: closed everywhere, so that a mistyped key is an error."""

from __future__ import annotations

import json
from typing import Any

from scripts.chart import kubernetes_types, settings_schema
from scripts.chart.values_file import Value

Schema = dict[str, Any]

LIFTED = {
    "pod": "pod",
    "generatorDefaults": "generator",
    "rewardServerDefaults": "rewardServer",
    "trainerDefaults": "trainer",
}
"""Sections whose keys may be given elsewhere too, and their name among the definitions."""


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


BY_NAME: dict[str, Schema] = {
    **dict.fromkeys(
        ("annotations", "labels", "nodeSelector", "commonLabels", "commonAnnotations"),
        _ref("texts"),
    ),
    **dict.fromkeys(
        ("existingSecret", "existingClaim", "tokenSecret", "authenticationRef"),
        _ref("optionalName"),
    ),
    **dict.fromkeys(("size", "sizeLimit", "shmSize", "tmpSize"), _ref("quantity")),
    **dict.fromkeys(("maxSurge", "maxUnavailable"), _ref("intOrPercent")),
    **dict.fromkeys(("minReplicas", "maxReplicas", "target"), _ref("positive")),
    "behavior": _ref("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior"),
    "digest": _ref("digest"),
    "mountPath": {"pattern": r"^/[^\s]+$"},
    "pod": _ref("pod"),
    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "resources": _ref("resources"),
}
"""What keys of these names hold wherever they stand."""

_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_PROBE = _ref("io.k8s.api.core.v1.Probe")
_TEXT: Schema = {"type": "string", "minLength": 1}

SMALL: dict[str, Schema] = {
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "name": {"type": "string", "pattern": f"^{_NAME}$"},
    "optionalName": {"type": "string", "pattern": f"^({_NAME})?$"},
    "shortName": {"pattern": "^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$"},
    "variable": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "hostName": {
        "type": "string",
        "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    },
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "duration": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "positive": {"type": "integer", "minimum": 1},
    "quantity": {
        "type": ["string", "number"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        "minimum": 0,
    },
    "intOrPercent": {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+%$"},
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"type": "object", "additionalProperties": _ref("quantity")}
            for name in ("requests", "limits")
        },
    },
    "probes": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"startup": _PROBE, "readiness": _PROBE, "liveness": _PROBE},
    },
    "secretKey": {
        "type": "object",
        "additionalProperties": False,
        "required": ["secret", "key"],
        "properties": {"secret": _ref("name"), "key": _TEXT},
    },
    "hubModel": {
        "type": "object",
        "additionalProperties": False,
        "required": ["model", "revision"],
        "properties": {
            "model": {"type": "string", "pattern": "^[^/\\s]+/[^/\\s]+$"},
            "revision": _TEXT,
        },
    },
    "headerMatch": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"name": _TEXT, "value": _TEXT},
        "dependentRequired": {"name": ["value"], "value": ["name"]},
    },
    "parentRef": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            **dict.fromkeys(("group", "kind", "name", "namespace", "sectionName"), _TEXT),
            "port": _ref("port"),
        },
    },
    "vllmArgs": {
        "type": "object",
        "propertyNames": {
            "pattern": "^[a-zA-Z0-9][a-zA-Z0-9.-]*$",
            "not": {
                "enum": ["model", "revision", "served-model-name", "host", "port", "api-key"],
            },
        },
        "additionalProperties": {
            "type": ["string", "number", "boolean", "object", "array"],
        },
    },
    "trainerCommand": {"type": "string", "enum": ["", *settings_schema.commands()]},
}


def build(values: list[Value]) -> Schema:
    """The schema of the whole of values.yaml."""
    trainer_definitions, conditions = settings_schema.trainers()
    definitions: Schema = {
        **SMALL,
        **settings_schema.gateway(),
        **settings_schema.reward_server(),
        **trainer_definitions,
    }
    root = _closed()
    sections: dict[tuple[str, ...], Schema] = {(): root}
    for value in values:
        lifted = LIFTED.get(value.dotted)
        own = _section(value, lifted) if value.section else _leaf(value)
        if value.section:
            sections[value.path] = own
        elif value.text:
            own = own | {"description": value.text}
        # A section that is one of Kubernetes' types holds whatever that type holds.
        target = sections[value.path[:-1]].get("properties", {})
        target[value.name] = own
        if lifted is not None:
            definitions[lifted] = own
    # A null in values takes a default away; what the templates count on has to be there. Where a
    # section may be given elsewhere, in part, only its own place must have it all.
    for value in values:
        own = sections.get(value.path, {})
        if value.path[0] not in LIFTED and "properties" in own:
            _require_all(own)
    for name, lifted in LIFTED.items():
        root["properties"][name] = {
            **_ref(lifted),
            "required": sorted(definitions[lifted]["properties"]),
        }
    _require_all(root)
    root["properties"]["trainers"]["additionalProperties"]["allOf"] = conditions
    definitions |= kubernetes_types.definitions([root, definitions])
    # Helm hands a parent chart's `global` to every chart.
    root["properties"]["global"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def text(values: list[Value]) -> str:
    return json.dumps(build(values), indent=1, ensure_ascii=False) + "\n"


def _require_all(section: Schema) -> None:
    section["required"] = sorted(section["properties"])


def _section(value: Value, lifted: str | None) -> Schema:
    own = value.schema or ({} if lifted else BY_NAME.get(value.name, {}))
    return dict(own) if "$ref" in own else _closed() | own


def _closed() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _leaf(value: Value) -> Schema:
    own = value.schema or BY_NAME.get(value.name, {})
    if "$ref" in own:
        return dict(own)
    kind = _kind(value.default)
    return {**({"type": kind} if "enum" not in own else {}), **_bounds(kind), **own}


def _kind(default: Any) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(default, kind):
            return name
    return "array" if isinstance(default, list) else "object"


def _bounds(kind: str) -> Schema:
    return {"minimum": 0} if kind == "integer" else {}
