"""JSON Schema of the servers' and the trainers' settings, out of their own pydantic classes.

What pydantic writes is right but answers a mistake inside a union with every branch of it. Here a
union that is told apart by ``type`` becomes conditions, and a value that may be null a type with
null, so that Helm's message names the one key that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from bon_gateway.backends.embedder.embeddings import EmbeddingsSettings
from bon_gateway.backends.http.settings import OWN_HEADERS, UpstreamSettings
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.sections.base import type_name
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.settings.tree import Settings as GatewaySettings
from bon_gateway.strategies.registry import KINDS
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.thinking import ThinkingSettings
from reward_server.settings import Settings as RewardProcess
from trainers.commands import COMMANDS

Schema = dict[str, Any]

MADE_BY_THE_CHART_FOR_A_POLICY = ("type", "urls", "model", "revision", "api_key_env", "resolve")
MADE_BY_THE_CHART_FOR_A_REWARD = ("type", "urls", "model", "api_key_env", "resolve")
MADE_BY_THE_CHART_FOR_A_REWARD_SERVER = (
    *("model", "revision", "host", "port", "drain_grace_s", "chat_template"),
)


def gateway() -> Schema:
    """Definitions: GatewaySettings, ServedModels, GeneratorPolicy, RewardServerReward, and what
    they refer to."""
    found = of(GatewaySettings, "GatewaySettings")
    root = found["GatewaySettings"]
    # Generators and reward servers of the chart count too, which only a template can see.
    root["required"] = ["models", "policies", "rewards", "server"]
    found["ServerSettings"]["required"] = ["host", "port"]
    for name in ("policies", "models"):
        del root["properties"][name]["minProperties"]
    found["ServerSettings"]["properties"]["port"]["minimum"] = 1
    # What validators of fields say, which pydantic does not put into the schema.
    found["VllmPolicySettings"]["properties"]["session_header"]["not"] = {
        "pattern": f"^(?i:{'|'.join(OWN_HEADERS)})$"
    }
    recording = found["RecordingSettings"]["properties"]
    recording["redact"]["items"]["minLength"] = 1
    recording["redact_fields"]["items"]["pattern"] = r"^[^.]+(\.[^.]+)*$"
    found["ServedModels"] = root["properties"]["models"]
    root["properties"]["models"] = {"$ref": "#/$defs/ServedModels"}
    found["GeneratorPolicy"] = without(found["VllmPolicySettings"], MADE_BY_THE_CHART_FOR_A_POLICY)
    found["RewardServerReward"] = without(
        found["RewardServerSettings"], MADE_BY_THE_CHART_FOR_A_REWARD
    )
    return found


def strategies() -> str:
    """What the chart's checks have to know of each strategy, as JSON: whether it needs a reward
    model, and the keys, with their defaults, whose sum is how many candidates it draws. One with a
    ``cap`` may draw that many: see ``_cap``."""
    known = {
        type_name(kind): {
            "needsReward": kind.needs_reward,
            "counts": {key: kind.model_fields[key].default for key in kind.counts},
            "cap": _cap(kind) if "cap" in kind.model_fields else None,
        }
        for kind in KINDS
    }
    return json.dumps(known, indent=1) + "\n"


def _cap(kind: type[StrategySettings]) -> dict[str, Any]:
    """Number of candidates above ``n`` that it must allow, and their default number in eighths of
    ``n``: without ``wave``, and with it."""

    def drawn(**values: int) -> int:
        return kind.model_validate({"type": type_name(kind), "n": 8, **values}).drawn

    def allowed(cap: int) -> bool:
        try:
            return drawn(cap=cap) == cap
        except ValidationError:
            return False

    above = next(above for above in range(9) if allowed(8 + above))
    return {"above": above, "eighths": drawn() - 8, "eighthsInWaves": drawn(wave=4) - 8}


def defaults() -> str:
    """Defaults that the chart computes with where the values set none, as JSON. Times are in
    seconds; a policy or reward model inside the gateway has no timeout, and none is longer. Two
    policies under one with variants must think alike, with these marks where they name none."""
    known = {
        "maxN": LimitsSettings.model_fields["max_n"].default,
        "maxCandidates": LimitsSettings.model_fields["max_candidates"].default,
        "policyTimeout": VllmPolicySettings.model_fields["timeout_s"].default,
        "rewardTimeout": UpstreamSettings.model_fields["timeout_s"].default,
        "embedderTimeout": EmbeddingsSettings.model_fields["timeout_s"].default,
        "thinking": ThinkingSettings().model_dump(),
    }
    return json.dumps(known, indent=1) + "\n"


def reward_server() -> Schema:
    found = of(RewardProcess, "RewardProcess")
    found["RewardServerProcess"] = without(
        found.pop("RewardProcess"), MADE_BY_THE_CHART_FOR_A_REWARD_SERVER
    )
    return found


def commands() -> list[str]:
    """What a trainer may be told to do; the demo world's own pipelines are for a workplace."""
    return [name for name in COMMANDS if not name.startswith("demo-")]


def trainers() -> tuple[Schema, list[Schema]]:
    """Definitions of the settings of each command, and the conditions that choose among them."""
    found: Schema = {}
    conditions = []
    for name in commands():
        prefix = f"trainer-{name}"
        found |= _unexplained(of(COMMANDS[name].settings, prefix, prefix=f"{prefix}-"))
        conditions.append(
            {
                "if": {"properties": {"command": {"const": name}}, "required": ["command"]},
                "then": {"properties": {"config": {"$ref": f"#/$defs/{prefix}"}}},
            }
        )
    return found, conditions


def _unexplained(definitions: Schema) -> Schema:
    """Without the words on each key, which several commands share and would bring over and over.
    docs/training-settings.md has them."""
    for part in definitions.values():
        for key in part.get("properties", {}).values():
            key.pop("description", None)
    return definitions


def of(kind: type[BaseModel], name: str, prefix: str = "") -> Schema:
    """Definitions of a class and of all it refers to; ``prefix`` sets the others' names apart."""
    root = kind.model_json_schema()
    inner = root.pop("$defs", {})
    found = {f"{prefix}{key}": part for key, part in inner.items()}
    found[name] = root
    return {key: _plain(part, prefix) for key, part in found.items()}


def without(section: Schema, keys: Iterable[str]) -> Schema:
    """A section's schema without some of its keys."""
    dropped = set(keys)
    kept = {key: part for key, part in section["properties"].items() if key not in dropped}
    required = [key for key in section.get("required", []) if key not in dropped]
    rest = {key: part for key, part in section.items() if key not in ("properties", "required")}
    return {**rest, "properties": kept, **({"required": required} if required else {})}


def _plain(node: Any, prefix: str) -> Any:
    if isinstance(node, list):
        return [_plain(part, prefix) for part in node]
    if not isinstance(node, dict):
        return node
    if "discriminator" in node:
        return _by_type(node, prefix)
    plain = {
        key: _plain(part, prefix) if key != "properties" else _properties(part, prefix)
        for key, part in node.items()
        if key not in ("title", "default")
    }
    if "$ref" in plain:
        plain["$ref"] = f"#/$defs/{prefix}{str(plain['$ref']).rsplit('/', 1)[-1]}"
    if "description" in plain:
        plain["description"] = " ".join(str(plain["description"]).replace("``", "`").split())
    return _nullable(plain)


def _properties(properties: Schema, prefix: str) -> Schema:
    """A property may be called ``title`` or ``default``."""
    return {key: _plain(part, prefix) for key, part in properties.items()}


def _by_type(node: Schema, prefix: str) -> Schema:
    """``oneOf`` with a discriminator, as conditions."""
    key = node["discriminator"]["propertyName"]
    mapping = {
        name: f"#/$defs/{prefix}{reference.rsplit('/', 1)[-1]}"
        for name, reference in node["discriminator"]["mapping"].items()
    }
    return {
        "type": "object",
        "required": [key],
        "properties": {key: {"enum": sorted(mapping)}},
        "allOf": [
            {
                "if": {"properties": {key: {"const": name}}, "required": [key]},
                "then": {"$ref": reference},
            }
            for name, reference in sorted(mapping.items())
        ],
    }


def _nullable(node: Schema) -> Schema:
    """``anyOf`` of one plain type and null, as one type."""
    branches = node.get("anyOf")
    if not isinstance(branches, list) or {"type": "null"} not in branches or len(branches) != 2:
        return node
    (other,) = [branch for branch in branches if branch != {"type": "null"}]
    if not isinstance(other.get("type"), str) or "enum" in other:
        return node
    rest = {key: part for key, part in node.items() if key != "anyOf"}
    return {**rest, **other, "type": [other["type"], "null"]}
