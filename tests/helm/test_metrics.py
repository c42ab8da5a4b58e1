"""Dashboards, alerts and autoscalers ask for metrics that the servers really export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from bon_gateway.metrics import Metrics as GatewayMetrics
from reward_server.metrics import Metrics as RewardServerMetrics
from tests.helm.kit import CHART, Object, case, of_kind, render
from tests.vllm_forks import VllmForks

NAME = re.compile(r"\b(?:vllm:|bon_|reward_server_)\w+")
BY_PATTERN = re.compile(r'\{__name__=~"vllm\[:_\](\w+)",')
"""vLLM's series have one of two names: newer clients write underscores for Prometheus 2."""
ALWAYS = {"up"}
"""What Prometheus itself knows of every target."""

# What vLLM 0.32 exports of what is asked for here; the test below looks whether it does.
VLLM = {
    "vllm:generation_tokens_total",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
}
LIST_VLLM = """
import re, pathlib, vllm.v1.metrics
folder = pathlib.Path(vllm.v1.metrics.__path__[0])
print(*{n for p in folder.glob("*.py") for n in re.findall(r'"(vllm:[a-z_]+)"', p.read_text())})
"""


def exported(registry: Any) -> set[str]:
    """Names of all series of a registry, with those that a histogram has."""
    metrics: list[Metric] = list(registry.collect())
    names = set()
    for metric in metrics:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {metric.name + suffix for suffix in suffixes.get(metric.type, ("",))}
    return names


def known() -> set[str]:
    own = exported(GatewayMetrics().registry) | exported(RewardServerMetrics().registry)
    return own | VLLM | {rule["record"] for rule in rules() if "record" in rule}


def rules() -> list[Object]:
    (found,) = of_kind(render(case("everything")), "PrometheusRule")
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    configs = of_kind(render(case("everything")), "ConfigMap")
    (text,) = [
        value for found in configs for key, value in found["data"].items() if key.endswith(".json")
    ]
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def asked() -> Iterator[tuple[str, str]]:
    """Who asks for which metric."""
    for who, expression in expressions():
        for name in NAME.findall(BY_PATTERN.sub(r"vllm:\1{", expression)):
            yield who, name


def expressions() -> Iterator[tuple[str, str]]:
    """Who asks, and the expression or the name."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"]["query"]
    objects = render(case("everything"))
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                yield scaler["kind"], metric["pods"]["metric"]["name"]
    for scaled in of_kind(objects, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            yield scaled["kind"], trigger["metadata"]["query"]


def test_every_metric_that_is_asked_for_exists() -> None:
    all_asked = list(asked())
    assert {who for who, name in all_asked if name not in known()} == set()
    assert {name.split("_")[0].split(":")[0] for _, name in all_asked} == {"bon", "reward", "vllm"}


def test_a_metric_that_does_not_exist_is_noticed() -> None:
    assert "bon_requests" not in known()
    assert "bon_requests_total" in known()
    assert NAME.findall('sum(rate(bon_requets_total{a="b"}[5m]))') == ["bon_requets_total"]


@pytest.mark.vllm
def test_vllm_exports_what_is_asked_of_it(vllm: VllmForks, tmp_path: Path) -> None:
    program = tmp_path / "list.py"
    program.write_text(LIST_VLLM, "utf-8")
    done = vllm.result(program)
    assert done.exit_code == 0, done.stderr
    # Its counters are named without the suffix that the exposition gives them.
    assert {name.removesuffix("_total") for name in VLLM} <= set(done.stdout.split())


def test_labels_that_are_asked_for_exist() -> None:
    """Each ``by (...)`` names labels of the metric, or those that Prometheus adds to a target."""
    added = {"namespace", "service", "pod", "le", "model_name", "engine"}
    labels: dict[str, set[str]] = {}
    for metrics in (GatewayMetrics(), RewardServerMetrics()):
        for collector in metrics.registry._collector_to_names:
            for name in metrics.registry._collector_to_names[collector]:
                labels[name] = set(getattr(collector, "_labelnames", ()))
    for _, expression in expressions():
        plain = BY_PATTERN.sub(r"vllm:\1{", expression)
        for by, name in re.findall(r"by \(([^)]*)\) \((?:rate|increase)?\(?([\w:]+)", plain):
            if not name.startswith("vllm:"):
                wanted = {label.strip() for label in by.split(",")} - added
                assert wanted <= labels[name], expression


def test_alerts_say_what_they_are() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 12
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]


def test_panels_do_not_overlap_and_have_a_unit() -> None:
    panels = dashboard()["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_dashboard_is_valid_in_the_chart() -> None:
    text = (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")
    assert json.loads(text) == dashboard()


def test_the_monitor_finds_the_services_that_have_metrics() -> None:
    objects = render(case("everything"))
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    services = of_kind(objects, "Service")
    found = [s for s in services if wanted.items() <= s["metadata"]["labels"].items()]
    assert len(found) == len(services) == 5
    (endpoint,) = monitor["spec"]["endpoints"]
    assert all(p["name"] == endpoint["port"] for s in found for p in s["spec"]["ports"])
