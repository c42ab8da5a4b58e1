"""Each value of values.yaml reaches something: changed, it changes what is rendered.

Numbers and words are all given marks of their own at once, and each mark is looked for; switches
are turned one at a time. Two cases are rendered, since some values exclude each other: one makes
claims, scales by itself and takes tags, the other has claims, fixed replicas and digests.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from scripts.chart.values_file import Value, read
from tests.helm.kit import CHART, case, laid_over, templates

VALUES = [v for v in read((CHART / "values.yaml").read_text(encoding="utf-8")) if not v.section]
NAMED = ("generators", "rewardServers", "trainers")
"""Maps of units, which are the case itself."""
ELSEWHERE = {
    "gateway.settings.policies": "test_settings",
    "gateway.settings.rewards": "test_settings",
    "gateway.settings.models": "test_settings",
    "generatorDefaults.model": "of each generator: test_settings",
    "generatorDefaults.revision": "of each generator: test_settings",
    "generatorDefaults.modelInImage": "it permits a path: test_schema",
    "rewardServerDefaults.modelInImage": "likewise",
    "rewardServerDefaults.model": "of each reward server: test_settings",
    "rewardServerDefaults.revision": "of each reward server: test_settings",
    "trainerDefaults.command": "of each trainer: test_settings",
    "gateway.ingress.className": "an Ingress excludes the rollout: below",
    "gateway.ingress.annotations": "likewise",
    "gateway.ingress.hosts": "likewise",
    "gateway.ingress.tls": "likewise",
    "gateway.ingress.enabled": "likewise",
}
SWITCHES = [
    value for value in VALUES if isinstance(value.default, bool) and value.dotted not in ELSEWHERE
]
ONLY_IN_THE_SECOND = ("digest", "existingClaim", "name", "replicas")

# A unit without keys of its own, so that the defaults decide.
PLAIN: dict[str, Any] = {
    "generators": {"plain": {"model": "owner/plain", "revision": "main"}},
    "rewardServers": {"plain": {"model": "owner/plain", "revision": "main"}},
    "trainers": {
        "plain": {"command": "sft", "config": {"model": "m", "train": "t", "output": "o"}},
    },
}
# What the entries of the case say themselves, so that turning a default leaves them as they are.
ENTRIES: dict[str, Any] = {
    "generators": {
        "base": {"enabled": True, "autoscaling": {"hpa": False}},
        "tuned": {"enabled": True, "model": "owner/tuned", "revision": "main"},
    },
    "rewardServers": {"helpful": {"enabled": True, "autoscaling": {"keda": False}}},
}
FORMS = {
    "fullnameOverride": "fn{}",
    "nameOverride": "nm{}",
    "digest": "sha256:{:064d}",
    "mountPath": "/place-{}",
    "size": "{}Gi",
    "sizeLimit": "{}Gi",
    "shmSize": "{}Mi",
    "tmpSize": "{}Mi",
    "timeout": "{}s",
    "interval": "{}s",
    "fsGroupChangePolicy": "Always",
    "pullPolicy": "Never",
    "spread": "required",
    "type": "NodePort",
    "host": "10.0.0.{}",
}
"""What a text has to look like where a word alone will not do."""
LISTS: dict[str, Any] = {
    "extraObjects": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "MARK"}},
    "pullSecrets": "MARK",
    "tolerations": {"key": "MARK"},
    "extraEnv": {"name": "MARK", "value": "1"},
    "extraEnvFrom": {"secretRef": {"name": "MARK"}},
    "extraVolumes": {"name": "MARK", "emptyDir": {}},
    "extraVolumeMounts": {"name": "MARK", "mountPath": "/MARK"},
    "extra": {"model": "owner/MARK", "revision": "main"},
    "parentRefs": {"name": "MARK"},
    "hostnames": "MARK",
    "command": "MARK",
    "gatewayFrom": {"podSelector": {"matchLabels": {"MARK": "1"}}},
    "metricsFrom": {"podSelector": {"matchLabels": {"MARK": "1"}}},
    "extraEgress": {"to": [{"podSelector": {"matchLabels": {"MARK": "1"}}}]},
}
MAPS: dict[str, Any] = {
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "probes": {"liveness": {"initialDelaySeconds": 77}},
    "pod": {"annotations": {"MARK": "1"}},
    "behavior": {"scaleUp": {"selectPolicy": "MARK"}},
    "seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "MARK"},
    "capabilities": {"drop": ["MARK"]},
    "secretEnv": {"MARK": {"secret": "s", "key": "k"}},
    "header": {"name": "MARK", "value": "v"},
    "args": {"MARK": 1},
    "policy": {"session_header": "MARK"},
    "reward": {"timeout_s": 87654},
    "settings": {"served_model_name": "MARK"},
    "models": {
        "assistant": {
            "policy": "elsewhere",
            "reward": "elsewhere",
            "strategy": {"type": "best_of_n", "n": 27},
        }
    },
    "requests": {"cpu": "MARKm"},
    "limits": {"memory": "9999MARKMi"},
}
FOUND = {
    "affinity": "nodeAffinity",
    "probes": "initialDelaySeconds: 77",
    "reward": "87654",
    "models": '"?n"?: 27',
    "fsGroupChangePolicy": "fsGroupChangePolicy: Always",
    "pullPolicy": "imagePullPolicy: Never",
    "spread": "DoNotSchedule",
    "type": "type: NodePort",
}
NUMBERS = {
    "gateway.rollout.weight": 37,
    "rewardServerDefaults.gpu.count": 1,
    "trainerDefaults.gpu.count": 8,
    "trainerDefaults.processes": 7,
}
"""Numbers that may not be any."""


def marked(value: Value, index: int) -> tuple[Any, str]:
    """Another value, and the expression by which it is found in what is rendered."""
    name, default = value.name, value.default
    if isinstance(default, float) or (isinstance(default, int) and ".thresholds." in value.dotted):
        return index / 1000, rf"{index / 1000}\b"
    if isinstance(default, int):
        number = NUMBERS.get(value.dotted, 10_000 + 5 * index)
        if name == "minReplicas":
            number -= 5_000
        return number, rf"\b({number}|{number // 5})\b"
    if isinstance(default, str):
        form = FORMS.get(name, "mark{}")
        return form.format(index), FOUND.get(name, form.format(index).replace(".", r"\."))
    mark = "9" * 2 + str(index) if name in ("requests", "limits") else f"mark{index}"
    found = FOUND.get(name, rf"{mark}")
    if isinstance(default, list):
        if name == "accessModes":
            return ["ReadWriteOncePod"], "ReadWriteOncePod"
        if name == "hubPorts":
            return [index + 20_000], str(index + 20_000)
        return [*default, with_mark(LISTS[name], mark)], found
    return with_mark(MAPS.get(name, {"MARK": "1"}), mark), found


def with_mark(node: Any, mark: str) -> Any:
    if isinstance(node, str):
        return node.replace("MARK", mark)
    if isinstance(node, list):
        return [with_mark(part, mark) for part in node]
    if isinstance(node, dict):
        return {with_mark(key, mark): with_mark(part, mark) for key, part in node.items()}
    return node


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    tree = value
    for key in reversed(path):
        tree = {key: tree}
    return dict(tree)


def both_cases() -> tuple[dict[str, Any], dict[str, Any]]:
    base = laid_over(laid_over(case("everything"), PLAIN), ENTRIES)
    first = laid_over(
        base,
        {
            "generatorDefaults": {"autoscaling": {"keda": True}},
            "rewardServerDefaults": {"autoscaling": {"hpa": True}},
        },
    )
    off = {"autoscaling": {"hpa": False, "keda": False}}
    second = laid_over(
        base,
        {
            "gateway": off | {"rollout": off},
            "generators": {"base": off},
            "rewardServers": {"helpful": off},
            "serviceAccount": {"create": False},
        },
    )
    return first, second


def test_every_number_and_word_is_used() -> None:
    first, second = both_cases()
    patterns = {}
    for index, value in enumerate(VALUES, start=100):
        skipped = value.dotted in ELSEWHERE or value.dotted in NAMED
        if skipped or isinstance(value.default, bool):
            continue
        other, patterns[value.dotted] = marked(value, index)
        over = at(value.path, other)
        if value.name not in ONLY_IN_THE_SECOND:
            first = laid_over(first, over)
        second = laid_over(second, over)
    rendered = "\n".join([*templates(first).values(), *templates(second).values()])
    unused = [name for name, pattern in patterns.items() if not re.search(pattern, rendered)]
    assert unused == []
    assert len(patterns) > 150


@pytest.mark.parametrize("value", SWITCHES, ids=lambda value: value.dotted)
def test_every_switch_is_used(value: Value) -> None:
    """In one of the cases at least."""
    assert any(switches(value, values) for values in both_cases())


def switches(value: Value, values: dict[str, Any]) -> bool:
    """Whether turning it changes what is rendered; what stands beside it is rendered once."""
    if value.name in ("hpa", "keda"):
        # They exclude each other.
        other = (*value.path[:-1], "keda" if value.name == "hpa" else "hpa")
        values = laid_over(values, at(other, False))
    turned = laid_over(values, at(value.path, not state(value, values)))
    if value.dotted == "modelCache.enabled":
        turned = laid_over(turned, {"modelCache": {"download": {"enabled": False}}})
    if value.dotted == "gateway.httpRoute.enabled":
        turned = laid_over(turned, {"gateway": {"rollout": {"enabled": False}}})
    return templates(values) != templates(turned)


def state(value: Value, values: Any) -> bool:
    """Of a switch in values that may leave it at its default."""
    for key in value.path:
        if not isinstance(values, dict) or key not in values:
            return bool(value.default)
        values = values[key]
    return bool(values)


def test_an_ingress_uses_all_its_values() -> None:
    ingress = {
        "enabled": True,
        "className": "mark1",
        "annotations": {"mark2": "1"},
        "hosts": ["mark3"],
        "tls": [{"hosts": ["mark3"], "secretName": "mark4"}],
    }
    rendered = templates(laid_over(case("minimal"), {"gateway": {"ingress": ingress}}))
    text = rendered["bon-gateway/templates/ingress.yaml"]
    assert all(f"mark{index}" in text for index in range(1, 5))
