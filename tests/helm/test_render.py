"""Real Helm renders and lints every case; Kubernetes' and the operators' schemas know every key."""

from __future__ import annotations

import pytest

import bon_gateway
from tests.helm.custom_resources import KINDS, check
from tests.helm.kit import (
    ALL_CASES,
    CHART,
    RELEASE,
    case,
    helm,
    label,
    of_kind,
    render,
    templates,
)
from tests.helm.kubernetes_schemas import NEWEST, errors

VERSIONS = ("1.29", "1.32", NEWEST)


@pytest.mark.parametrize("name", ALL_CASES)
def test_it_lints_strictly(name: str) -> None:
    report = helm.lint(CHART, case(name), strict=True, namespace="llm")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ALL_CASES)
def test_kubernetes_knows_every_key(name: str, version: str) -> None:
    own = [found for found in render(case(name)) if found["kind"] not in KINDS]
    assert len(own) > 5
    wrong = {label(found): errors(found, version) for found in own}
    assert {key: found for key, found in wrong.items() if found} == {}


def test_a_key_that_kubernetes_does_not_know_is_found() -> None:
    (deployment, *_) = of_kind(render(case("minimal")), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["mistyped"] = 1
    assert "mistyped" in str(errors(deployment, NEWEST))


@pytest.mark.parametrize("name", ALL_CASES)
def test_custom_resources_fit_their_models(name: str) -> None:
    for found in render(case(name)):
        if found["kind"] in KINDS:
            assert check(found) == []


def test_every_kind_of_custom_resource_was_checked() -> None:
    assert {found["kind"] for found in render(case("everything"))} >= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_no_model_knows_is_found(kind: str) -> None:
    (found, *_) = of_kind(render(case("everything")), kind)
    found["spec"]["mistyped"] = 1
    assert any("mistyped" in problem for problem in check(found))


@pytest.mark.parametrize("name", ALL_CASES)
def test_the_notes_print_the_first_curl(name: str) -> None:
    values = case(name)
    notes = templates(values)["bon-gateway/templates/NOTES.txt"]
    model = min(values["gateway"]["settings"]["models"])
    assert f"port-forward service/{RELEASE}-bon-gateway-gateway 8080:" in notes
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in notes
    assert f'"model": "{model}"' in notes
    assert ("authorization" in notes) == ("apiKeys" in values["gateway"])


def test_the_chart_is_of_the_project_s_version() -> None:
    with helm.Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == chart.version == bon_gateway.__version__
