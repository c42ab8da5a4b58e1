"""Each alert, played through by promtool: it fires with what it is for, and not with what it isn't.

`promtool` comes with Debian's package `prometheus`; without it these tests are skipped, and
`test_metrics` still checks that each expression asks for metrics that exist.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.kit import NAMESPACE, case, of_kind, read, render

CASES = read(Path(__file__).with_name("alerts.yaml"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def spec() -> dict[str, Any]:
    (rule,) = of_kind(render(case("everything")), "PrometheusRule")
    found: dict[str, Any] = rule["spec"]
    return found


def alerts() -> dict[str, dict[str, Any]]:
    rules = [rule for group in spec()["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def promtool(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def series(given: dict[str, str], namespace: str = NAMESPACE) -> list[dict[str, str]]:
    return [
        {"series": name.replace("}", f',namespace="{namespace}"}}'), "values": str(values)}
        for name, values in given.items()
    ]


def when(given: dict[str, str]) -> str:
    """The last minute of the series."""
    return str(next(iter(given.values()))).rpartition("x")[2] + "m"


def play(name: str, given: dict[str, str], tmp_path: Path, namespace: str = NAMESPACE) -> str:
    """What promtool says when it expects the alert not to fire."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec()))
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series(given, namespace),
                "alert_rule_test": [{"eval_time": when(given), "alertname": name}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = promtool(tmp_path, "test", "rules", "test.yaml")
    return done.stdout + done.stderr


def test_every_alert_has_its_case() -> None:
    assert set(CASES) == set(alerts())


@needs_promtool
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec()))
    done = promtool(tmp_path, "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_it_fires(name: str, tmp_path: Path) -> None:
    said = play(name, CASES[name]["fires"], tmp_path)
    assert "FAILED" in said
    assert f'alertname="{name}"' in said
    # Its words were filled in from labels that are there.
    assert "<no value>" not in said
    assert "<error" not in said


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_it_is_silent(name: str, tmp_path: Path) -> None:
    assert "SUCCESS" in play(name, CASES[name]["silent"], tmp_path)


@needs_promtool
@pytest.mark.parametrize("name", sorted(set(CASES) - {"BonGatewayGone", "BonRolloutGone"}))
def test_another_namespace_is_none_of_its_business(name: str, tmp_path: Path) -> None:
    assert "SUCCESS" in play(name, CASES[name]["fires"], tmp_path, namespace="another")


@needs_promtool
def test_what_generators_are_scaled_on_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec()))
    service = "demo-bon-gateway-generator-base"
    given = {
        f'vllm:num_requests_running{{pod="p",engine="0",service="{service}"}}': "30x5",
        f'vllm:num_requests_waiting{{pod="p",engine="0",service="{service}"}}': "12x5",
    }
    labels = f'namespace="{NAMESPACE}", pod="p", service="{service}"'
    expected = {"labels": f"bon_generator_candidates{{{labels}}}", "value": 42}
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series(given),
                "promql_expr_test": [
                    {
                        "expr": "bon_generator_candidates",
                        "eval_time": "5m",
                        "exp_samples": [expected],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = promtool(tmp_path, "test", "rules", "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
