"""The project's own checks of what is rendered, and that each finds what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helm import checks
from tests.helm.kit import (
    ALL_CASES,
    RELEASE,
    Object,
    case,
    label,
    laid_over,
    named,
    of_kind,
    pod_templates,
    render,
)

GATEWAY = f"{RELEASE}-bon-gateway-gateway"
BASE = f"{RELEASE}-bon-gateway-generator-base"
LONG = "a-release-with-quite-a-long-name-that-goes-on"


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: str(check.__name__))
@pytest.mark.parametrize("name", ALL_CASES)
def test_nothing_is_wrong(name: str, check: Callable[[list[Object]], Iterator[str]]) -> None:
    assert list(check(render(case(name)))) == []


def test_nothing_is_wrong_with_a_long_name() -> None:
    objects = render(case("everything"), release=LONG)
    assert [problem for check in checks.ALL for problem in check(objects)] == []
    other = render(case("everything"), release=f"{LONG}-too")
    both = {found["metadata"]["name"] for found in objects} & {o["metadata"]["name"] for o in other}
    assert both == set(), "two releases of long names share objects"


def container(objects: list[Object], name: str = GATEWAY) -> Any:
    return named(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]


def misname(objects: list[Object]) -> None:
    named(objects, "Service", GATEWAY)["metadata"]["name"] = "Not_A_Name"


def mislabel(objects: list[Object]) -> None:
    template = named(objects, "Deployment", GATEWAY)["spec"]["template"]
    template["metadata"]["labels"]["bon-gateway/unit"] = "other"


def move_a_port(objects: list[Object]) -> None:
    container(objects)["ports"][0]["name"] = "other"


def misroute(objects: list[Object]) -> None:
    (route,) = of_kind(objects, "HTTPRoute")
    route["spec"]["rules"][0]["backendRefs"][0]["port"] = 8080


def lose_a_volume(objects: list[Object]) -> None:
    named(objects, "Deployment", GATEWAY)["spec"]["template"]["spec"]["volumes"].pop()


def lose_a_config(objects: list[Object]) -> None:
    objects.remove(named(objects, "ConfigMap", GATEWAY))


def misspell_a_quantity(objects: list[Object]) -> None:
    container(objects)["resources"]["limits"]["memory"] = "2GB"


def ask_too_much(objects: list[Object]) -> None:
    container(objects)["resources"]["requests"]["memory"] = "4Gi"


def scale_what_is_fixed(objects: list[Object]) -> None:
    named(objects, "Deployment", GATEWAY)["spec"]["replicas"] = 2


def scale_backwards(objects: list[Object]) -> None:
    named(objects, "ScaledObject", BASE)["spec"]["minReplicaCount"] = 99


def become_root(objects: list[Object]) -> None:
    for _, template in pod_templates(objects):
        template["spec"]["securityContext"]["runAsUser"] = 0


def write_to_root(objects: list[Object]) -> None:
    container(objects, BASE)["securityContext"]["readOnlyRootFilesystem"] = False


def leak(objects: list[Object]) -> None:
    container(objects, BASE)["env"].append({"name": "HF_TOKEN", "value": "hf_x"})


def lose_the_account(objects: list[Object]) -> None:
    objects.remove(of_kind(objects, "ServiceAccount")[0])


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        (misname, checks.names, "bad name"),
        (mislabel, checks.selectors, "selects []"),
        (move_a_port, checks.ports, "asks a port that is not open"),
        (misroute, checks.ports, "no such Service or port"),
        (lose_a_volume, checks.volumes, "no volume"),
        (lose_a_config, checks.volumes, "no ConfigMap"),
        (misspell_a_quantity, checks.quantities, "limits.memory: 2GB"),
        (ask_too_much, checks.quantities, "request above limit"),
        (scale_what_is_fixed, checks.scaling, "sets replicas too"),
        (scale_backwards, checks.scaling, "min above max"),
        (become_root, checks.restricted, "may run as root"),
        (write_to_root, checks.restricted, "may write to its root"),
        (leak, checks.secrets, "HF_TOKEN in the open"),
        (lose_the_account, checks.service_accounts, "no such service account"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_checks_find_what_is_wrong(
    fault: Callable[[list[Object]], None],
    check: Callable[[list[Object]], Iterator[str]],
    said: str,
) -> None:
    objects = render(case("everything"))
    fault(objects)
    assert any(said in problem for problem in check(objects))


def test_every_pod_has_the_pull_secrets_and_the_scheduling() -> None:
    shared = {"nodeSelector": {"pool": "llm"}, "priorityClassName": "serving"}
    objects = render(laid_over(case("everything"), {"pod": shared}))
    templates = dict(pod_templates(objects))
    assert len(templates) == 9
    for where, template in templates.items():
        spec = template["spec"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}], where
        if "generator-base" not in where:  # it has its own
            assert spec["nodeSelector"] == {"pool": "llm"}, where
            assert spec["priorityClassName"] == "serving", where


def test_grace_covers_the_wait_and_the_longest_request() -> None:
    objects = render(case("two-gpus"))
    gateway = named(objects, "Deployment", GATEWAY)["spec"]["template"]["spec"]
    # drain_delay_s 10, the policy's timeout 300, the reward model's 60, and a little more.
    assert gateway["terminationGracePeriodSeconds"] == 10 + 300 + 60 + 15
    generator = named(objects, "Deployment", BASE)["spec"]["template"]["spec"]
    command = generator["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[4:6] == ["40", "600"]
    assert generator["terminationGracePeriodSeconds"] > 40 + 600


def test_a_trainer_has_time_for_its_update_and_a_checkpoint() -> None:
    def graces(**values: Any) -> list[int]:
        templates = pod_templates(render(laid_over(case("training"), values)))
        return [
            template["spec"]["terminationGracePeriodSeconds"]
            for _, template in templates
            if template["spec"]["containers"][0]["name"] == "trainer"
        ]

    assert graces() == [300, 300]
    assert sorted(graces(trainers={"dpo": {"terminationGracePeriodSeconds": 900}})) == [300, 900]


def test_probes_never_ask_upstreams_whether_to_live() -> None:
    objects = render(case("everything"))
    for deployment in of_kind(objects, "Deployment"):
        (only,) = deployment["spec"]["template"]["spec"]["containers"]
        live = only["livenessProbe"]
        assert live["httpGet"]["path"] in ("/livez", "/health")
        assert live["timeoutSeconds"] >= 10
        startup = only["startupProbe"]
        seconds = startup["periodSeconds"] * startup["failureThreshold"]
        assert seconds == (120 if only["name"] == "gateway" else 1800)


def test_upstreams_are_headless_so_that_candidates_stay_together() -> None:
    objects = render(case("everything"))
    headless = {
        s["metadata"]["name"] for s in of_kind(objects, "Service") if "clusterIP" in s["spec"]
    }
    assert headless == {
        f"{RELEASE}-bon-gateway-{name}"
        for name in ("generator-base", "generator-tuned", "reward-helpful")
    }


def test_traffic_is_divided_by_weight_and_by_header() -> None:
    (route,) = of_kind(render(case("tuned")), "HTTPRoute")
    by_header, rest = route["spec"]["rules"]
    assert by_header["matches"][0]["headers"] == [
        {"type": "Exact", "name": "x-bon-track", "value": "tuned"}
    ]
    assert [b["name"] for b in by_header["backendRefs"]] == [f"{GATEWAY}-rollout"]
    weights = {backend["name"]: backend["weight"] for backend in rest["backendRefs"]}
    assert weights == {GATEWAY: 90, f"{GATEWAY}-rollout": 10}


@pytest.mark.parametrize(("weight", "rest"), [(0, 100), (100, 0)])
def test_a_rollout_goes_from_nothing_to_all(weight: int, rest: int) -> None:
    values = laid_over(case("tuned"), {"gateway": {"rollout": {"weight": weight}}})
    (route,) = of_kind(render(values), "HTTPRoute")
    assert [b["weight"] for b in route["spec"]["rules"][-1]["backendRefs"]] == [rest, weight]


def test_an_upgrade_of_the_chart_alone_starts_no_pod_anew() -> None:
    for where, template in pod_templates(render(case("everything"))):
        if not where.startswith("Pod/"):
            assert "helm.sh/chart" not in template["metadata"]["labels"], where


@pytest.mark.parametrize(
    "change",
    [
        {"trainers": {"dpo": {"config": {"beta": 0.2}}}},
        {"trainers": {"dpo": {"pod": {"nodeSelector": {"gpu": "h100"}}}}},
        {"trainers": {"dpo": {"image": {"tag": "2"}}}},
        {"trainers": {"dpo": {"backoffLimit": 5}}},
    ],
)
def test_a_changed_job_has_another_name(change: dict[str, Any]) -> None:
    base = case("training")
    (before,) = [o for o in of_kind(render(base), "Job") if "trainer" in o["metadata"]["name"]]
    (same,) = [o for o in of_kind(render(base), "Job") if "trainer" in o["metadata"]["name"]]
    changed = render(laid_over(base, change))
    (after,) = [o for o in of_kind(changed, "Job") if "trainer" in o["metadata"]["name"]]
    assert before["metadata"]["name"] == same["metadata"]["name"] != after["metadata"]["name"]


def test_what_is_offline_reaches_no_hub() -> None:
    objects = render(case("air-gapped"))
    for found in of_kind(objects, "NetworkPolicy"):
        ports = [
            p["port"] for rule in found["spec"].get("egress", []) for p in rule.get("ports", [])
        ]
        assert 443 not in ports, found["metadata"]["name"]
    for name in (BASE, f"{RELEASE}-bon-gateway-reward-helpful"):
        only = container(objects, name)
        assert {"name": "HF_HUB_OFFLINE", "value": "1"} in only["env"]
        (models,) = [m for m in only["volumeMounts"] if m["name"] == "models"]
        assert models["readOnly"] is True


def _role(peer: dict[str, Any]) -> str:
    """Whom a network policy lets in."""
    wanted = peer["podSelector"]["matchLabels"]
    return str(wanted.get("app.kubernetes.io/component", wanted["app.kubernetes.io/name"]))


@pytest.mark.parametrize("name", ["everything", "minimal"])
def test_no_selector_reaches_a_neighbour_of_the_same_release(name: str) -> None:
    """Under an umbrella chart the neighbours have the release's instance label too."""
    own = {"app.kubernetes.io/name": "bon-gateway", "app.kubernetes.io/instance": RELEASE}
    objects = render(laid_over(case(name), {"monitoring": {"serviceMonitor": {"enabled": True}}}))
    chosen = [
        ("ServiceMonitor", found["spec"]["selector"])
        for found in of_kind(objects, "ServiceMonitor")
    ]
    for found in of_kind(objects, "NetworkPolicy"):
        spec = found["spec"]
        rules = [*spec.get("ingress", []), *spec.get("egress", [])]
        peers = [peer for rule in rules for peer in (*rule.get("from", []), *rule.get("to", []))]
        # Peers of other charts are the operator's own choice.
        ours = [peer for peer in peers if RELEASE in str(peer)]
        chosen += [(label(found), part["podSelector"]) for part in (spec, *ours)]
    assert len(chosen) > 5
    for where, selector in chosen:
        assert own.items() <= selector["matchLabels"].items(), where


def test_the_rollout_has_an_autoscaler_of_its_own() -> None:
    scaling = {"hpa": True, "minReplicas": 2, "maxReplicas": 5, "cpuPercent": 70, "target": 0}
    objects = render(laid_over(case("tuned"), {"gateway": {"rollout": {"autoscaling": scaling}}}))
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == f"{GATEWAY}-rollout"
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert scaler["spec"]["metrics"] == [{"type": "Resource", "resource": cpu}]
    assert "replicas" not in named(objects, "Deployment", f"{GATEWAY}-rollout")["spec"]
    assert "replicas" in named(objects, "Deployment", GATEWAY)["spec"]


def test_the_gateway_is_scaled_on_requests_and_cpu_together() -> None:
    scaling = {"hpa": True, "cpuPercent": 80}
    objects = render(laid_over(case("minimal"), {"gateway": {"autoscaling": scaling}}))
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert [metric["type"] for metric in scaler["spec"]["metrics"]] == ["Pods", "Resource"]


def test_all_is_denied_but_what_is_needed() -> None:
    policies = {
        found["metadata"]["name"]: found["spec"]
        for found in of_kind(render(case("everything")), "NetworkPolicy")
    }
    everything = policies.pop(f"{RELEASE}-bon-gateway")
    own = {"app.kubernetes.io/name": "bon-gateway", "app.kubernetes.io/instance": RELEASE}
    assert everything["podSelector"] == {"matchLabels": own}
    assert everything["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything
    assert "egress" not in everything
    gateway = policies[GATEWAY]
    assert {p["port"] for rule in gateway["egress"] for p in rule["ports"]} == {
        53,
        8000,
        8081,
        8443,
        9000,
    }
    callers = {
        _role(peer)
        for rule in policies[BASE.removesuffix("-base")]["ingress"]
        for peer in rule["from"]
    }
    assert callers == {"gateway", "trainer", "prometheus"}
    # Every pod has a policy that opens what it needs.
    chosen = {
        spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for spec in policies.values()
    }
    pods = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for _, template in pod_templates(render(case("everything")))
    }
    assert chosen == pods
