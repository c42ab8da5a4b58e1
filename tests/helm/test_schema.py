"""Wrong values are refused with the key's name; what the gateway refuses, the chart refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_common.settings.errors import SettingsError
from bon_gateway.settings.loader import load
from scripts.chart.__main__ import written
from tests.helm.kit import CHART, case, gateway_config, helm, laid_over, of_kind, render

Values = Mapping[str, Any]


def refusal(values: Values) -> str:
    with pytest.raises(helm.HelmError) as caught:
        render(values)
    return str(caught.value)


@pytest.mark.parametrize("path", written(), ids=lambda path: path.name)
def test_what_is_written_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == written()[path], "run python -m scripts.chart"


def test_the_schema_is_closed() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # Words of one's own: names of ports, labels and the like; and objects of any kind.
    free = {"extraObjects", "global", "vllmArgs"}
    assert sorted(open_objects(schema, "", free)) == []


def open_objects(node: Any, path: str, free: set[str]) -> Iterator[str]:
    """Objects that list their keys and take others too."""
    if isinstance(node, dict):
        conditional = path.endswith(("/if", "/then"))
        if "properties" in node and not conditional and node.get("type") == "object":
            by_type = "allOf" in node and len(node["properties"]) == 1
            if "additionalProperties" not in node and not by_type:
                yield path
        for key, part in node.items():
            if key not in free:
                yield from open_objects(part, f"{path}/{key}", free)
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from open_objects(part, f"{path}/{index}", free)


def test_without_values_the_chart_says_what_it_needs() -> None:
    assert "generators: there is neither a generator nor a policy" in refusal({})


GATEWAY = "gateway.settings.models.assistant"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"gatway": {}}, "'gatway' not allowed"),
        ({"gateway": {"replcas": 1}}, "'/gateway': additional properties 'replcas'"),
        ({"gateway": {"replicas": "two"}}, "'/gateway/replicas': got string"),
        ({"gateway": {"image": {"digest": "abc"}}}, "'/gateway/image/digest'"),
        ({"gateway": {"settings": {"sever": {}}}}, "'sever' not allowed"),
        ({"gateway": {"settings": {"server": {"port": 0}}}}, "'/gateway/settings/server/port'"),
        ({"gateway": {"settings": {"server": {"host": "127.0.0.1"}}}}, "settings.server.host: "),
        ({"gateway": {"settings": {"models": None}}}, "missing property 'models'"),
        ({"gateway": {"image": None}}, "'/gateway': missing property 'image'"),
        ({"generatorDefaults": {"gpu": None}}, "'/generatorDefaults': missing property 'gpu'"),
        ({"gateway": {"secretEnv": {"1X": {"secret": "s", "key": "k"}}}}, "'1X' does not match"),
        ({"gateway": {"secretEnv": {"X": {"secret": "s"}}}}, "missing property 'key'"),
        ({"gateway": {"ingress": {"enabled": True}}}, "gateway.ingress.hosts: "),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "gateway.httpRoute.parentRefs: "),
        ({"gateway": {"rollout": {"enabled": True}}}, "gateway.rollout.enabled: needs"),
        ({"gateway": {"rollout": {"weight": 101}}}, "'/gateway/rollout/weight'"),
        ({"gateway": {"rollout": {"header": {"name": "x"}}}}, "'/gateway/rollout/header'"),
        ({"gateway": {"autoscaling": {"hpa": True, "keda": True}}}, "gateway.autoscaling: hpa and"),
        (
            {"gateway": {"autoscaling": {"hpa": True, "minReplicas": 11}}},
            "gateway.autoscaling.minReplicas: is above maxReplicas",
        ),
        ({"gateway": {"autoscaling": {"keda": True}}}, "keda.prometheusAddress: is required"),
        (
            {"gateway": {"autoscaling": {"hpa": True, "target": 0}}},
            "gateway.autoscaling.hpa: set target, cpuPercent or both",
        ),
        (
            {"gateway": {"autoscaling": {"keda": True, "target": 0}}},
            "gateway.autoscaling.target: is required by keda",
        ),
        (
            {"gateway": {"autoscaling": {"keda": True, "cpuPercent": 5}}},
            "gateway.autoscaling.cpuPercent: is for hpa alone",
        ),
        (
            {"generators": {"base": {"model": "/models/x"}}},
            "generators.base.model: /models/x is in no volume of its pods",
        ),
        (
            {
                "modelCache": {"enabled": True},
                "generators": {"base": {"model": "/modelsx/x"}},
            },
            "generators.base.model: /modelsx/x is in no volume of its pods",
        ),
        (
            {"generators": {"base": {"model": "a/b", "modelInImage": True}}},
            "generators.base.modelInImage: needs a path",
        ),
        (
            {"gateway": {"updateStrategy": {"maxSurge": 0}}},
            "gateway.updateStrategy: maxSurge and maxUnavailable cannot both be 0",
        ),
        (
            {"gateway": {"settings": {"auth": {"keys_file": "/k"}}}},
            "gateway.settings.auth.keys_file: gateway.apiKeys",
        ),
        (
            {"gateway": {"settings": {"policies": {"qwen": {"urls": ["http://a:b@c"]}}}}},
            "gateway.settings.policies.qwen.urls: a password",
        ),
        (
            {"gateway": {"settings": {"recording": {"folder": "log"}}}},
            "gateway.settings.recording.folder: an absolute path",
        ),
        (
            {"gateway": {"settings": {"history": {"folder": "learnt"}}}},
            "gateway.settings.history.folder: an absolute path",
        ),
        (
            {
                "gateway": {
                    "settings": {"history": {"folder": "/a/"}, "recording": {"folder": "/a"}}
                }
            },
            "gateway.settings.history.folder: it is that of recording",
        ),
        ({"generators": {"base": {}}}, "generators.base.model: is required"),
        ({"generators": {"base": {"model": "a/b"}}}, "generators.base.revision: is required"),
        (
            {"generators": {"qwen": {"model": "a/b", "revision": "main"}}},
            "gateway.settings.policies.qwen: there is",
        ),
        ({"generators": {"Not_A_Name": {"model": "/m"}}}, "'Not_A_Name' does not match"),
        ({"generators": {"base": {"model": "/m", "args": {"port": 1}}}}, "'port'"),
        ({"generators": {"base": {"model": "/m", "policy": {"urls": []}}}}, "'urls' not allowed"),
        (
            {
                "generators": {
                    "base": {"model": "a/b", "revision": "main", "autoscaling": {"hpa": True}}
                }
            },
            "generators.base.autoscaling.hpa: needs monitoring.prometheusRule.enabled",
        ),
        ({"rewardServers": {"r": {"model": "/m", "settings": {"port": 1}}}}, "'port' not allowed"),
        (
            {"rewardServers": {"r": {"model": "/m", "settings": {"max_batch_tokens": 0}}}},
            "'/rewardServers/r/settings/max_batch_tokens'",
        ),
        ({"trainers": {"t": {}}}, "trainers.t.command: is required"),
        ({"trainers": {"t": {"command": "dop"}}}, "'/trainers/t/command'"),
        (
            {"trainers": {"t": {"command": "dpo", "config": {"modl": "x"}}}},
            "'/trainers/t/config': additional properties 'modl'",
        ),
        (
            {
                "trainers": {
                    "t": {
                        "command": "sft",
                        "processes": 2,
                        "config": {"model": "m", "train": "t", "output": "o"},
                    }
                }
            },
            "trainers.t.processes: is above gpu.count",
        ),
        ({"modelCache": {"offline": True}}, "modelCache.offline: needs modelCache.enabled"),
        ({"modelCache": {"download": {"enabled": True}}}, "modelCache.download.enabled: needs"),
        ({"modelCache": {"size": "200GB"}}, "'/modelCache/size'"),
        ({"pod": {"tolerations": [{"kee": "x"}]}}, "'/pod/tolerations/0': additional properties"),
        ({"pod": {"extraEnv": [{"name": "A_TOKEN", "value": "x"}]}}, "pod.extraEnv: A_TOKEN: "),
        ({"gateway": {"resources": {"limits": {"memory": "2GB"}}}}, "'/gateway/resources/limits"),
        ({"networkPolicy": {"gatewayFrom": [{"pods": {}}]}}, "'/networkPolicy/gatewayFrom/0'"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_a_wrong_value_is_refused_by_its_key(over: Values, said: str) -> None:
    assert said in refusal(laid_over(case("minimal"), over))


LOCAL = {"type": "transformers", "model": "x"}
THINKER = {"type": "vllm", "urls": ["http://vllm:8000"], "thinking": {}}
EMBEDDER = {"type": "embedder", "embedder": "missing"}
SEMANTIC = {"type": "semantic", "embedder": "missing", "threshold": 0.9}
CASCADE = {"type": "cascade", "first": "qwen", "threshold": 1}
REFUSED_BY_THE_GATEWAY: tuple[dict[str, Any], ...] = (
    {"unknown": {}},
    {"server": {"port": -1}},
    {"server": {"port": 65536}},
    {"server": {"workers": 0}},
    {"server": {"workers": 1.5}},
    {"server": {"keepalive_s": 0}},
    {"server": {"drain_delay_s": -1}},
    {"server": {"drain_grace_s": 0}},
    {"server": {"log_level": "loud"}},
    {"server": {"access_log": 7}},
    {"auth": {"keys": "x"}},
    {"limits": {"max_n": 0}},
    {"limits": {"on_excess_n": "ignore"}},
    {"limits": {"max_top_logprobs": -1}},
    {"limits": {"max_n": 4}},
    {"limits": {"max_candidates": 32}},
    {"limits": {"max_candidates_per_key": 4}},
    {"limits": {"max_tokens_per_request": 4}},
    {"limits": {"tokens_per_key": 4}},
    {"limits": {"window_s": 0}},
    {"recording": {"sample_rate": 1.1}},
    {"recording": {"keep": 0}},
    {"recording": {"redact": [""]}},
    {"recording": {"redact_fields": ["a..b"]}},
    {"policies": {"qwen": {"type": "other"}}},
    {"policies": {"qwen": {"urls": []}}},
    {"policies": {"qwen": {"urls": ["vllm:8000"]}}},
    {"policies": {"qwen": {"fan_out": "single"}}},
    {"policies": {"qwen": {"timeout_s": 0}}},
    {"policies": {"qwen": {"resolve": "dns"}}},
    {"policies": {"qwen": {"resolve_interval_s": 0}}},
    {"policies": {"qwen": {"session_header": "not a header"}}},
    {"policies": {"qwen": {"session_header": "X-Request-Id"}}},
    {"policies": {"qwen": {"device": "cpu"}}},
    {"policies": {"other": {"model": "x"}}},
    {"policies": {"other": {"type": "transformers"}}},
    {"policies": {"other": {"type": "transformers", "model": "x", "device": "tpu"}}},
    {"policies": {"mix": {"type": "variants"}}},
    *(
        {"policies": {"mix": {"type": "variants", "of": of}, "local": LOCAL, "thinker": THINKER}}
        for of in (
            [],
            [{"policy": "missing"}],
            [{"policy": "mix"}],
            [{"policy": "qwen"}, {"policy": "qwen"}],
            [{"policy": "qwen"}, {"policy": "thinker"}],
            [{"policy": "local", "model": "x"}],
            [{"policy": "qwen", "share": 0}],
            [{"policy": "qwen", "temperature": 0}],
        )
    ),
    {"rewards": {"skywork": {"urls": []}}},
    {"rewards": {"skywork": {"type": "vllm"}}},
    {"rewards": {"other": {"type": "in_process", "model": "x", "max_batch_tokens": 0}}},
    {"models": {"assistant": {"policy": "missing"}}},
    {"models": {"assistant": {"reward": "missing"}}},
    {"models": {"assistant": {"polcy": "qwen"}}},
    {"models": {"assistant": {"allow_override": "maybe"}}},
    {"models": {"assistant": {"strategy": {"type": "worst_of_n"}}}},
    {"models": {"assistant": {"strategy": {"n": 0}}}},
    {"models": {"assistant": {"strategy": {"n": 65}}}},
    {"models": {"assistant": {"strategy": {"min_candidates": 9}}}},
    {"models": {"assistant": {"strategy": {"retries": 6}}}},
    {"models": {"assistant": {"strategy": {"fallback": "last"}}}},
    {"models": {"assistant": {"strategy": {"spare": 2}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "best_of_n"}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "single", "n": 2}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "hook", "function": "no_colon"}}}},
    {"models": {"assistant": {"strategy": {"type": "majority", "extract": {"type": "box"}}}}},
    {"models": {"assistant": {"strategy": {"type": "majority", "extract": {"type": "regex"}}}}},
    {"models": {"assistant": {"strategy": {"type": "majority_of_the_bests", "m": 0}}}},
    {"models": {"assistant": {"strategy": {"type": "mbr", "beta": -1}}}},
    {"models": {"assistant": {"strategy": {"type": "mbr", "similarity": {"type": "bleu"}}}}},
    {"rewards": {"both": {"type": "ensemble", "members": []}}},
    {"models": {"assistant": {"rewards": [{"reward": "missing"}], "reward": None}}},
    {"models": {"assistant": {"rewards": [{"reward": "helpful"}], "combine": "sum"}}},
    {"models": {"assistant": {"rewards": [{"reward": "helpful"}]}}},
    {"rewards": {"both": {"type": "ensemble", "members": [{"weight": 2}, {"reward": "a"}]}}},
    {"models": {"assistant": {"strategy": {"type": "mbr", "similarity": {"type": "embedder"}}}}},
    {"models": {"assistant": {"strategy": {"type": "mbr", "similarity": EMBEDDER}}}},
    {"models": {"assistant": {"strategy": {"type": "majority", "extract": SEMANTIC}}}},
    {"embedders": {"e5": {"type": "embeddings", "urls": []}}},
    {"models": {"assistant": {"strategy": {"type": "confidence", "signal": {"type": "sure"}}}}},
    {"models": {"assistant": {"strategy": {"type": "confidence", "fallback": "confidence"}}}},
    {"models": {"assistant": {"strategy": {"type": "borda", "p": -1}}}},
    {"models": {"assistant": {"strategy": {"type": "poisson", "mu": 0}}}},
    {"models": {"assistant": {"strategy": {"type": "pruning", "least_chance": 1}}}},
    {"models": {"assistant": {"strategy": {"type": "pruning", "checkpoints": []}}}},
    {"models": {"assistant": {"strategy": {"type": "poisson", "n": 65}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "poisson"}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "weighted_vote"}}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "adaptive"}}}},
    {"models": {"assistant": {"strategy": {"type": "adaptive", "n": 33}}}},
    {"models": {"assistant": {"strategy": {"type": "adaptive", "n": 8, "cap": 65}}}},
    {"models": {"assistant": {"strategy": {"type": "adaptive", "n": 8, "cap": 8}}}},
    {"models": {"assistant": {"strategy": {"type": "pruning", "n": 47}}}},
    {"models": {"assistant": {"strategy": {"type": "pruning", "n": 33, "wave": 4}}}},
    {"models": {"assistant": {"strategy": {"type": "pruning", "n": 8, "cap": 7}}}},
    {"models": {"assistant": {"strategy": {"type": "adaptive", "price_per_token": 0}}}},
    {"models": {"assistant": {"strategy": {"type": "good_enough", "n": 4}}}},
    {"models": {"assistant": {"strategy": {"type": "majority", "stop_at": 0.5}}}},
    {"models": {"assistant": {"strategy": {"type": "cascade", "first": "qwen"}}}},
    {"models": {"assistant": {"strategy": {"type": "cascade", "threshold": 1}}}},
    {"models": {"assistant": {"strategy": {**CASCADE, "first": "missing"}}}},
    {"models": {"assistant": {"strategy": {**CASCADE, "first_n": 0}}}},
    {"models": {"assistant": {"strategy": {**CASCADE, "n": 63, "first_n": 2}}}},
    {
        "policies": {"thinker": THINKER},
        "models": {"assistant": {"strategy": {**CASCADE, "first": "thinker"}}},
    },
    {"models": {"new": {"policy": "qwen", "strategy": CASCADE}}},
    {"history": {"window": 3}},
    {"rewards": {"other": {"type": "hook", "function": "a:b", "urls": ["http://r"]}}},
    {"models": {"new": {"policy": "qwen", "strategy": {"type": "single", "min_candidates": 2}}}},
    {
        "models": {
            "new": {
                "policy": "qwen",
                "reward": "skywork",
                "strategy": {"type": "first_k", "n": 63, "spare": 2},
            }
        }
    },
)


@pytest.mark.parametrize("wrong", REFUSED_BY_THE_GATEWAY, ids=json.dumps)
def test_what_the_gateway_refuses_the_chart_refuses(wrong: dict[str, Any], tmp_path: Path) -> None:
    base = case("minimal")
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(laid_over(yaml.safe_load(gateway_config(render(base))), wrong))
    )
    with pytest.raises(SettingsError) as caught:
        load(config, {})
    said = refusal(laid_over(base, {"gateway": {"settings": wrong}}))
    last = caught.value.key.rsplit(".", 1)[-1]
    assert last in said, f"the gateway names {caught.value.key}"


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "pruning", "n": 46},
        {"type": "pruning", "n": 32, "wave": 4},
        {"type": "pruning", "n": 8, "cap": 8},
        {"type": "adaptive", "n": 32},
        {"type": "adaptive", "n": 63, "cap": 64},
    ],
)
def test_what_may_draw_up_to_the_limit_is_taken(strategy: dict[str, Any], tmp_path: Path) -> None:
    settings = {"models": {"assistant": {"strategy": strategy}}}
    values = laid_over(case("minimal"), {"gateway": {"settings": settings}})
    config = tmp_path / "config.yaml"
    config.write_text(gateway_config(render(values)))
    assert load(config, {}).models["assistant"].strategy.type == strategy["type"]


def test_of_the_gateway_s_own_checks_only_expressions_are_left_to_it(tmp_path: Path) -> None:
    """Helm cannot tell what Python takes for a regular expression."""
    wrong = {"recording": {"redact": ["("]}}
    objects = render(laid_over(case("minimal"), {"gateway": {"settings": wrong}}))
    config = tmp_path / "config.yaml"
    config.write_text(gateway_config(objects))
    with pytest.raises(SettingsError, match="redact"):
        load(config, {})


def test_marks_of_thinking_that_are_the_default_are_the_same() -> None:
    spelt = {**THINKER, "thinking": {"end": "</think>"}}
    mix = {"type": "variants", "of": [{"policy": "thinker"}, {"policy": "spelt"}]}
    policies = {"thinker": THINKER, "spelt": spelt, "mix": mix}
    values = laid_over(case("minimal"), {"gateway": {"settings": {"policies": policies}}})
    served = yaml.safe_load(gateway_config(render(values)))
    assert served["policies"]["mix"] == mix


def test_a_model_may_be_in_the_image() -> None:
    baked = {"model": "/models/x", "modelInImage": True}
    objects = render(laid_over(case("minimal"), {"generators": {"base": baked}}))
    assert "/models/x" in str(of_kind(objects, "StatefulSet") or of_kind(objects, "Deployment"))
