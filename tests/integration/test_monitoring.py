"""Every query of the chart's rules, autoscalers and dashboard, asked of a real Prometheus in the
situation that it is for: each has data."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from bon_gateway.testing.upstream import FakeUpstream
from scripts import monitoring
from tests.helm import test_metrics as asked_of
from tests.helm.kit import case, laid_over, of_kind, render
from tests.integration import monitored
from tests.integration.gateway import Gateway
from tests.integration.monitored import KEYS, Prometheus
from tests.integration.processes import Processes
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed (Debian: prometheus)"
)

# Each so low that the trouble of the test is above it.
THRESHOLDS = {
    **dict.fromkeys(("errors", "refused", "degraded", "failedCandidates"), 0.001),
    "latencySeconds": 0.0001,
    "overheadSeconds": 0.000001,
    "rewardGain": 100,
    "rewardQueueSeconds": 0.001,
    "generatorWaiting": 1,
    "kvCache": 0.5,
}
ABSENT = ("BonGatewayGone", "BonRolloutGone")
"""What has data where a target is missing. They are asked about a release that is not there."""


def values() -> dict[str, Any]:
    rule = {"monitoring": {"prometheusRule": {"thresholds": THRESHOLDS}}}
    return laid_over(case("everything"), rule)


def rules() -> Iterator[tuple[str, str]]:
    (found,) = of_kind(render(values()), "PrometheusRule")
    for group in found["spec"]["groups"]:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            gone = name in ABSENT
            yield name, rule["expr"].replace("demo-bon", "missing-bon" if gone else "demo-bon")


def scalers() -> Iterator[tuple[str, str]]:
    for scaled in of_kind(render(values()), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            yield scaled["metadata"]["name"], trigger["metadata"]["query"]


def panels() -> Iterator[tuple[str, str]]:
    chosen = {
        "$namespace": monitored.NAMESPACE,
        "$release": monitored.RELEASE,
        "$__rate_interval": "1m",
    }
    for panel in asked_of.dashboard()["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in chosen.items():
                query = query.replace(name, value)
            yield panel["title"], query


def elsewhere() -> Iterator[tuple[str, str]]:
    """The dashboard for use outside Kubernetes."""
    for panel in monitoring.dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} elsewhere", target["expr"].replace("$__rate_interval", "1m")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def prometheus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    folder = tmp_path_factory.mktemp("monitoring")
    recording = folder / "recording"
    processes = Processes(folder)
    try:
        async with FakeUpstream(monitored.answer) as upstream:
            settings = monitored.settings(upstream, recording)
            gateway = Gateway(processes, settings, KEYS)
            await asyncio.to_thread(gateway.wait_listening)
            await asyncio.to_thread(wait_until, lambda: gateway.ready, 60, "it is ready")
            with (
                monitored.exported(monitored.reward_server_series()) as reward_port,
                monitored.exported(monitored.vllm_series()) as vllm_port,
            ):
                targets = {
                    "gateway": int(gateway.url.rpartition(":")[2]),
                    "reward-helpful": reward_port,
                    "generator-base": vllm_port,
                    "reward-down": free_port(),
                }
                found = Prometheus(processes, folder, targets)
                await asyncio.to_thread(found.wait)
                await monitored.trouble(gateway, recording, found)
                scraped = monitored.SCRAPES
                await asyncio.to_thread(wait_until, lambda: found.scraped(scraped), 60, "scraped")
                yield found
    finally:
        await asyncio.to_thread(processes.stop_all)


QUERIES = [*rules(), *scalers(), *panels(), *elsewhere()]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "query"), QUERIES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(QUERIES)]
)
async def test_it_has_data(prometheus: Prometheus, name: str, query: str) -> None:
    found = await asyncio.to_thread(prometheus.ask, query)
    assert found, f"{name} has no data: {query}"
    assert not any(series["value"][1] == "NaN" for series in found), (name, found)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_mean_reward_of_winners_is_the_true_one(prometheus: Prometheus) -> None:
    (query,) = [query for name, query in panels() if name == "Mean reward of winners"]
    found = await asyncio.to_thread(prometheus.ask, query)
    means = {series["metric"]["model"]: float(series["value"][1]) for series in found}
    assert means == pytest.approx(
        dict.fromkeys(("assistant", "thrifty", "pruned"), monitored.REWARD)
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_a_query_without_data_is_noticed(prometheus: Prometheus) -> None:
    (query,) = [query for name, query in rules() if name == "BonErrors"]
    other = re.sub(r"bon_requests_total", "bon_requets_total", query)
    assert await asyncio.to_thread(prometheus.ask, other) == []
