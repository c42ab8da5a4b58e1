"""What Kubernetes would refuse, or silently never do, and its schemas do not say.

Each check takes the objects of a release and returns what is wrong, a line each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.helm.kit import Object, containers, label, labels, of_kind, pod_templates

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(rf"({DNS_NAME.pattern}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
QUANTITY = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
LABELS_AS_NAMES = ("Service", "Job", "Pod")
"""Kinds whose names become labels of hosts or of pods."""
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)S?$", re.IGNORECASE)


def names(objects: list[Object]) -> Iterator[str]:
    """Names that the API server refuses, labels that do not fit, objects that are there twice."""
    seen: set[str] = set()
    for found in objects:
        name = found["metadata"]["name"]
        form = DNS_LABEL if found["kind"] in LABELS_AS_NAMES else DNS_NAME
        if not form.fullmatch(name):
            yield f"{label(found)}: bad name"
        if found["kind"] == "CronJob" and len(name) > 52:
            yield f"{label(found)}: name too long for its Jobs"
        if label(found) in seen:
            yield f"{label(found)}: twice"
        seen.add(label(found))
    metadata = [(label(found), labels(found)) for found in objects]
    metadata += [(where, labels(template)) for where, template in pod_templates(objects)]
    for where, found_labels in metadata:
        for key, value in found_labels.items():
            if not (LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value)):
                yield f"{where}: bad label {key}={value}"


def selectors(objects: list[Object]) -> Iterator[str]:
    """Deployments, Services and budgets whose selector fits none of the pods, or another's too."""
    pods = [(where, labels(template)) for where, template in pod_templates(objects)]
    for found in objects:
        spec = found.get("spec", {})
        wanted = spec.get("selector")
        if found["kind"] not in ("Deployment", "Service", "PodDisruptionBudget"):
            continue
        chosen = wanted.get("matchLabels", wanted)
        fitting = [where for where, given in pods if chosen.items() <= given.items()]
        own = f"Deployment/{found['metadata']['name']}"
        if fitting != [own]:
            yield f"{label(found)}: selects {fitting} and not {own}"


def ports(objects: list[Object]) -> Iterator[str]:
    """Services, Ingresses, routes and probes that point at a port that is not there."""
    templates = list(pod_templates(objects))
    services = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "Service")}
    for where, template in templates:
        for container in containers(template):
            open_ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container and container[probe]["httpGet"]["port"] not in open_ports:
                    yield f"{where}: {probe} asks a port that is not open"
    for name, spec in services.items():
        pods = [t for _, t in templates if spec["selector"].items() <= labels(t).items()]
        offered = {p["name"] for t in pods for c in containers(t) for p in c.get("ports", [])}
        for port in spec["ports"]:
            if port["targetPort"] not in offered:
                yield f"Service/{name}: no pod has a port {port['targetPort']}"
    for name, port in _backends(objects):
        known = {p[key] for p in services.get(name, {"ports": []})["ports"] for key in p}
        if port not in known:
            yield f"{name}:{port}: no such Service or port"


def _backends(objects: list[Object]) -> Iterator[tuple[str, Any]]:
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield service["name"], service["port"]["name"]
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield backend["name"], backend["port"]


def volumes(objects: list[Object]) -> Iterator[str]:
    """Mounts without a volume, volumes without a mount, two mounts in one place, config and claims
    of the release that it does not make."""
    made = {label(found) for found in objects}
    for where, template in pod_templates(objects):
        known = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        used: set[str] = set()
        for container in containers(template):
            mounts = container.get("volumeMounts", [])
            used |= {mount["name"] for mount in mounts}
            paths = [mount["mountPath"] for mount in mounts]
            if len(paths) != len(set(paths)):
                yield f"{where}: two mounts in one place: {paths}"
        yield from (f"{where}: no volume {name}" for name in used - set(known))
        yield from (f"{where}: volume {name} is not mounted" for name in set(known) - used)
        for name, volume in known.items():
            config = volume.get("configMap", {}).get("name")
            if config is not None and f"ConfigMap/{config}" not in made:
                yield f"{where}: volume {name}: no ConfigMap {config}"
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
            ours = claim.endswith("-bon-gateway-models")
            if ours and f"PersistentVolumeClaim/{claim}" not in made:
                yield f"{where}: volume {name}: no claim {claim}"


def quantities(objects: list[Object]) -> Iterator[str]:
    """Quantities that are none, and requests above their limits."""
    for where, template in pod_templates(objects):
        for container in containers(template):
            resources = container.get("resources", {})
            for kind in ("requests", "limits"):
                for name, value in resources.get(kind, {}).items():
                    if amount(value) is None:
                        yield f"{where}: {kind}.{name}: {value}"
            for name, value in resources.get("requests", {}).items():
                limit = resources.get("limits", {}).get(name)
                if limit is not None and (amount(value) or 0) > (amount(limit) or 0):
                    yield f"{where}: {name}: request above limit"
            if "memory" not in resources.get("limits", {}):
                yield f"{where}: {container['name']}: memory without a limit"
        for volume in template["spec"].get("volumes", []):
            size = volume.get("emptyDir", {}).get("sizeLimit")
            if size is not None and amount(size) is None:
                yield f"{where}: volume {volume['name']}: {size}"


def amount(value: Any) -> float | None:
    match = QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    return float(match["number"]) * (UNITS | BINARY | {None: 1}).get(match["unit"], 1)


def scaling(objects: list[Object]) -> Iterator[str]:
    """Autoscalers of nothing, of what has a number of replicas already, or with min above max."""
    deployments = {found["metadata"]["name"]: found for found in of_kind(objects, "Deployment")}
    for found in objects:
        if found["kind"] not in ("HorizontalPodAutoscaler", "ScaledObject"):
            continue
        spec = found["spec"]
        target = deployments.get(spec["scaleTargetRef"]["name"])
        if target is None:
            yield f"{label(found)}: scales nothing"
        elif "replicas" in target["spec"]:
            yield f"{label(found)}: its Deployment sets replicas too"
        low = spec.get("minReplicas", spec.get("minReplicaCount"))
        high = spec.get("maxReplicas", spec.get("maxReplicaCount"))
        if low > high:
            yield f"{label(found)}: min above max"


def restricted(objects: list[Object]) -> Iterator[str]:
    """What the Pod Security Standard "restricted" refuses, and more that every pod here has."""
    for where, template in pod_templates(objects):
        spec = template["spec"]
        pod = spec.get("securityContext", {})
        if pod.get("runAsNonRoot") is not True or not pod.get("runAsUser"):
            yield f"{where}: may run as root"
        if pod.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{where}: no seccomp profile"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{where}: shares the host's namespaces"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: has a token of the API server"
        if spec.get("enableServiceLinks") is not False:
            yield f"{where}: gets the variables of all Services"
        for volume in spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{where}: mounts the host's files"
        yield from _restricted_containers(where, template)


def _restricted_containers(where: str, template: Object) -> Iterator[str]:
    for container in containers(template):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{where}: {container['name']} may gain privileges"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{where}: {container['name']} keeps capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: {container['name']} may write to its root"


def secrets(objects: list[Object]) -> Iterator[str]:
    """Variables that are secret by their name, with a value in the open; Secrets made here."""
    for found in of_kind(objects, "Secret"):
        yield f"{label(found)}: a secret in the values"
    for where, template in pod_templates(objects):
        for container in containers(template):
            for variable in container.get("env", []):
                if SECRET_NAME.search(variable["name"]) and "value" in variable:
                    yield f"{where}: {variable['name']} in the open"


def service_accounts(objects: list[Object]) -> Iterator[str]:
    made = {found["metadata"]["name"] for found in of_kind(objects, "ServiceAccount")}
    for where, template in pod_templates(objects):
        if template["spec"]["serviceAccountName"] not in made:
            yield f"{where}: no such service account"


ALL = (
    names,
    selectors,
    ports,
    volumes,
    quantities,
    scaling,
    restricted,
    secrets,
    service_accounts,
)
