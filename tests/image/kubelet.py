"""Plays the kubelet for a pod template of the chart: volumes, environment, probes, the end.

What it does not know it refuses, so that nothing of the chart is passed over in silence.
"""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.container import Container, Mount, Start
from tests.image.images import Image
from tests.waiting import wait_until

Object = dict[str, Any]

KNOWN = frozenset(
    (
        "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "ports",
        "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "securityContext",
        "resources", "volumeMounts",
    )
)  # fmt: skip
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The container's security context that `Container` keeps to, and no other."""


@dataclass(frozen=True)
class Probe:
    """An httpGet probe, asked as the kubelet asks."""

    url: str
    period_s: float
    timeout_s: float
    failures: int

    @classmethod
    def of(cls, container: Object, kind: str) -> Probe:
        probe = container[f"{kind}Probe"]
        asked = probe["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        port = ports.get(asked["port"], asked["port"])
        return cls(
            f"http://127.0.0.1:{port}{asked['path']}",
            probe["periodSeconds"],
            probe["timeoutSeconds"],
            probe["failureThreshold"],
        )

    def holds(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=self.timeout_s) as answer:
                return bool(200 <= answer.status < 400)
        except OSError:
            return False


@dataclass(frozen=True)
class Ended:
    """How a pod ended after it was told to."""

    exit_code: int
    took_s: float
    killed: bool
    """Whether the grace period ran out."""


class Pod:
    """One pod of a rendered workload."""

    def __init__(
        self,
        template: Object,
        image: Image,
        *,
        name: str,
        folder: Path,
        objects: Sequence[Object],
        hosts: Sequence[str] = (),
    ) -> None:
        """``objects`` holds the ConfigMaps and Secrets that the pod names."""
        self._spec = template["spec"]
        (self._container_spec,) = self._spec["containers"]
        if unknown := self._container_spec.keys() - KNOWN:
            raise ValueError(f"{name}: the tests' kubelet does not know {sorted(unknown)}")
        assert self._container_spec["securityContext"] == RESTRICTED
        context = self._spec["securityContext"]
        self.image = image
        self.container = Container(
            Start(
                image=image,
                name=name,
                command=self._container_spec.get("command", ()),
                args=self._container_spec.get("args"),
                environment=_environment(self._container_spec, objects),
                mounts=_mounts(self._spec, self._container_spec, objects, folder),
                hosts=hosts,
                working_folder=self._container_spec.get("workingDir"),
                user=(context["runAsUser"], context["runAsGroup"]),
            ),
            folder,
        )

    @property
    def grace_s(self) -> float:
        return float(self._spec.get("terminationGracePeriodSeconds", 30))

    def probe(self, kind: str) -> Probe:
        return Probe.of(self._container_spec, kind)

    def ready(self) -> bool:
        return self.probe("readiness").holds()

    def live(self) -> bool:
        return self.probe("liveness").holds()

    def wait_until_started(self) -> None:
        """Within what the startup probe allows. Raises TimeoutError, or AssertionError if it
        ended."""
        probe = self.probe("startup")

        def started() -> bool:
            assert self.container.exit_code is None, self.container.log
            return probe.holds()

        wait_until(started, probe.period_s * probe.failures, "the startup probe holds")

    def wait_until_ready(self, within_s: float) -> None:
        try:
            wait_until(self.ready, within_s, "the readiness probe holds")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.container.log}") from error

    def terminate(self) -> Ended:
        """The hook, the signal, and SIGKILL if the grace period runs out."""
        began = time.monotonic()
        until = began + self.grace_s
        hook = self._container_spec.get("lifecycle", {}).get("preStop")
        killed = False
        try:
            if hook is not None:
                done = self.container.run(hook["exec"]["command"], until - time.monotonic())
                assert done.returncode == 0, done.stderr
            self.container.signal(self._stop_signal)
            self.container.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            killed = True
            self.container.kill()
        return Ended(self.container.wait(10), time.monotonic() - began, killed)

    @property
    def _stop_signal(self) -> signal.Signals:
        return signal.Signals[self.image.config.get("StopSignal", "SIGTERM")]


def _named(objects: Sequence[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def _environment(container: Object, objects: Sequence[Object]) -> Mapping[str, str]:
    environment = {}
    for entry in container.get("env", []):
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        else:
            reference = entry["valueFrom"]["secretKeyRef"]
            secret = _named(objects, "Secret", reference["name"])
            environment[entry["name"]] = secret["stringData"][reference["key"]]
    return environment


def _mounts(
    spec: Object, container: Object, objects: Sequence[Object], folder: Path
) -> list[Mount]:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = []
    for wanted in container["volumeMounts"]:
        if unknown := wanted.keys() - {"name", "mountPath", "readOnly"}:
            raise ValueError(f"the tests' kubelet does not know {sorted(unknown)} of a mount")
        volume = volumes[wanted["name"]]
        source = None
        if "emptyDir" not in volume:
            source = folder / "volumes" / wanted["name"]
            source.mkdir(parents=True)
            for path, text in _files(volume, objects).items():
                (source / path).write_text(text)
        mounts.append(Mount(wanted["mountPath"], source, wanted.get("readOnly", False)))
    return mounts


def _files(volume: Object, objects: Sequence[Object]) -> dict[str, str]:
    """What a ConfigMap's or a Secret's volume holds."""
    if "configMap" in volume:
        data = _named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
        return dict(data)
    secret = volume["secret"]
    data = _named(objects, "Secret", secret["secretName"])["stringData"]
    return {item["path"]: data[item["key"]] for item in secret["items"]}
