"""Writes monitoring/: the chart's alerts and dashboard for a Prometheus outside Kubernetes.

    python scripts/monitoring.py

The chart tells servers apart by namespace, service and pod. Elsewhere Prometheus has ``job`` and
``instance``, so the same expressions ask for those. It needs Helm's wheel (the extra ``chart``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "bon-gateway"
FOLDER = ROOT / "monitoring"
RELEASE = "demo-bon-gateway"
HEAD = "# Written by scripts/monitoring.py from the chart; not edited by hand.\n"
JOBS = {"gateway": "bon-gateway", "reward": "reward-server", "generator": "vllm"}
VALUES = {
    "monitoring": {"prometheusRule": {"enabled": True}},
    "gateway": {
        "settings": {
            "models": {
                "m": {"policy": "base", "reward": "r", "strategy": {"type": "best_of_n"}},
            }
        }
    },
    "generators": {"base": {"model": "owner/policy", "revision": "main"}},
    "rewardServers": {"r": {"model": "owner/reward", "revision": "main"}},
}
_OF_RELEASE = re.compile(
    r'namespace="[^"]*",service=~?"(?:demo-bon-gateway|\$release)-(\w+|\([^"]*\))[^"]*"'
)
_LABELS = {"service": "job", "pod": "instance"}


def files() -> dict[str, str]:
    """The contents of the folder's files, by name."""
    return {
        "rules.yaml": HEAD + yaml.safe_dump(rules(), sort_keys=False, width=100),
        "dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
    }


def rules() -> dict[str, Any]:
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(VALUES, name="demo", namespace="x")
    (text,) = [text for name, text in rendered.items() if name.endswith("prometheus-rule.yaml")]
    groups = yaml.safe_load(text)["spec"]["groups"]
    for group in groups:
        group["name"] = group["name"].replace(RELEASE, "bon-gateway")
        for rule in group["rules"]:
            rule["expr"] = expression(rule["expr"])
            if "annotations" in rule:
                summary = rule["annotations"]["summary"]
                rule["annotations"]["summary"] = _renamed(summary, r"\$labels\.")
    return {"groups": groups}


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text("utf-8"))
    variables = board["templating"]["list"]
    board["templating"]["list"] = [v for v in variables if v["type"] == "datasource"]
    for panel in board["panels"]:
        # What is said of rollouts is the chart's.
        panel.pop("description", None)
        for target in panel.get("targets", []):
            target["expr"] = expression(target["expr"])
            if "legendFormat" in target:
                target["legendFormat"] = _renamed(target["legendFormat"], r"\{\{")
    return board


def expression(query: str) -> str:
    """A query of the chart by ``job`` and ``instance``."""
    query = _OF_RELEASE.sub(_job, query)
    return re.sub(r"\bby \(([^)]*)\)", lambda by: f"by ({_by(by[1])})", query)


def _job(found: re.Match[str]) -> str:
    if found[1].startswith("("):
        return f'job=~"{"|".join(JOBS.values())}"'
    return f'job="{JOBS[found[1]]}"'


def _by(labels: str) -> str:
    wanted = [label.strip() for label in labels.split(",")]
    return ", ".join(_LABELS.get(label, label) for label in wanted if label != "namespace")


def _renamed(text: str, before: str) -> str:
    for old, new in _LABELS.items():
        text = re.sub(rf"({before}\s*){old}\b", rf"\1{new}", text)
    return text


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote monitoring/{name}")


if __name__ == "__main__":
    main()
