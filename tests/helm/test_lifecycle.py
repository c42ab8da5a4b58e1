"""A release's whole life with real Helm, against an API server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helm.api_server import Cluster, running
from tests.helm.kit import CHART, NAMESPACE, RELEASE, case, helm, laid_over, of_kind, render

pytestmark = pytest.mark.timeout(300)
SECONDS = 60
GATEWAY = f"{RELEASE}-bon-gateway-gateway"


@pytest.fixture(name="server")
def _server() -> Iterator[tuple[Any, Cluster]]:
    with (
        running() as (url, cluster),
        helm.Config(kube_apiserver=url, namespace=NAMESPACE, storage_driver="memory") as config,
    ):
        yield config, cluster


def replicas(cluster: Cluster) -> int:
    (gateway,) = [
        found
        for found in cluster.objects.values()
        if (found["kind"], found["metadata"]["name"]) == ("Deployment", GATEWAY)
    ]
    count: int = gateway["spec"]["replicas"]
    return count


def test_install_upgrade_roll_back_test_uninstall(server: tuple[Any, Cluster]) -> None:
    config, cluster = server
    values = case("training")
    config.install(CHART, RELEASE, values, timeout=SECONDS)
    expected = [o for o in render(values) if o["kind"] != "Pod"]
    for kind in {found["kind"] for found in expected}:
        names = {found["metadata"]["name"] for found in of_kind(expected, kind)}
        assert cluster.names(kind) == names
    first_jobs = cluster.names("Job")
    assert replicas(cluster) == 2

    changed = laid_over(
        values, {"gateway": {"replicas": 5}, "trainers": {"dpo": {"config": {"beta": 0.3}}}}
    )
    config.upgrade(CHART, RELEASE, changed, timeout=SECONDS)
    assert replicas(cluster) == 5
    # The job whose settings changed is another one; the download is as it was.
    assert len(cluster.names("Job") & first_jobs) == 1
    assert len(cluster.names("Job")) == 2

    config.rollback(RELEASE, version=1, timeout=SECONDS)
    assert replicas(cluster) == 2
    assert cluster.names("Job") == first_jobs

    config.test(RELEASE, timeout=SECONDS)
    assert cluster.names("Pod") == set(), "the test's pod is gone when it has succeeded"
    assert [entry["revision"] for entry in config.history(RELEASE)] == [1, 2, 3]

    config.uninstall(RELEASE, timeout=SECONDS)
    left = {found["kind"] for found in cluster.objects.values()}
    assert left == {"PersistentVolumeClaim"}, "models outlive the release"


def test_everything_installs_and_goes(server: tuple[Any, Cluster]) -> None:
    config, cluster = server
    config.install(CHART, RELEASE, case("everything"), timeout=SECONDS)
    kinds = {found["kind"] for found in cluster.objects.values()}
    assert {"HTTPRoute", "ScaledObject", "PrometheusRule", "ServiceMonitor", "CronJob"} <= kinds
    config.uninstall(RELEASE, timeout=SECONDS)
    assert {found["kind"] for found in cluster.objects.values()} == {"PersistentVolumeClaim"}


def test_a_job_that_kept_its_name_could_not_be_upgraded(server: tuple[Any, Cluster]) -> None:
    """The server does refuse what a real one refuses, or the test above would show nothing."""
    config, cluster = server
    config.install(CHART, RELEASE, case("training"), timeout=SECONDS)
    path, job = next((p, o) for p, o in cluster.objects.items() if o["kind"] == "Job")
    assert cluster.put(path, laid_over(job, {"spec": {"template": {"x": 1}}})) is None
