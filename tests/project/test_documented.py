"""The docs list each code that an error of either server carries, and each of its metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bon_gateway.metrics import Metrics as GatewayMetrics
from reward_server.metrics import Metrics as RewardServerMetrics

ROOT = Path(__file__).resolve().parents[2]


def codes(package: str) -> Iterator[str]:
    """Codes of the error classes, and codes given where an error is made."""
    for path in (ROOT / package).rglob("*.py"):
        if "testing" in path.relative_to(ROOT).parts:  # it plays other servers
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                    yield code
                case ast.Assign(
                    targets=[ast.Name(id="code" | "default_code")],
                    value=ast.Constant(value=str(code)),
                ):
                    yield code
                case ast.AnnAssign(
                    target=ast.Name(id="code" | "default_code"),
                    value=ast.Constant(value=str(code)),
                ):
                    yield code


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (page, code)
        for page, package in [("api", "bon_gateway"), ("reward-server", "reward_server")]
        for code in sorted(set(codes(package)))
    ],
)
def test_a_code_is_in_the_table_of_errors(page: str, code: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"`{code}`" in text.partition("\n## Errors\n")[2]


def names(registry: CollectorRegistry) -> Iterator[str]:
    for family in registry.collect():
        yield f"{family.name}_total" if family.type == "counter" else family.name


@pytest.mark.parametrize(
    ("page", "metric"),
    [
        *(("operations", name) for name in names(GatewayMetrics().registry)),
        *(("reward-server", name) for name in names(RewardServerMetrics().registry)),
    ],
)
def test_a_metric_is_in_the_table(page: str, metric: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"`{metric}" in text
