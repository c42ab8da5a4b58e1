"""A Kubernetes API server in memory: as much of one as Helm needs to install a release.

It keeps objects, applies them, and refuses what a real one refuses of an update: another selector
of a Deployment, another pod template of a Job. It schedules nothing; a pod has succeeded as soon as
it is made, for `helm test` waits for that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

KINDS = {
    "v1": ["ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "batch/v1": ["CronJob", "Job"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
    "keda.sh/v1alpha1": ["ScaledObject"],
    "monitoring.coreos.com/v1": ["PrometheusRule", "ServiceMonitor"],
    "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
}
IMMUTABLE = {"jobs": "template", "deployments": "selector"}
"""Keys of the spec that an update may not change."""
Object = dict[str, Any]


def plural(kind: str) -> str:
    if kind.endswith(("y", "s")):
        return {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}[kind]
    return kind.lower() + "s"


class Cluster:
    """The objects, by their path."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.lock = threading.Lock()
        self._version = 0

    def names(self, kind: str) -> set[str]:
        with self.lock:
            return {o["metadata"]["name"] for o in self.objects.values() if o["kind"] == kind}

    def put(self, path: str, given: Object) -> Object | None:
        """Make or update an object; None for an update that may not be."""
        with self.lock:
            before = self.objects.get(path)
            fixed = IMMUTABLE.get(path.split("/")[-2])
            if before and fixed and before["spec"][fixed] != given["spec"][fixed]:
                return None
            self._version += 1
            given["metadata"] |= {"resourceVersion": str(self._version), "uid": f"uid-{path}"}
            if given["kind"] == "Pod":
                given["status"] = {"phase": "Succeeded"}
            self.objects[path] = given
            return given

    def under(self, path: str, query: dict[str, list[str]]) -> list[Object]:
        """A list's objects, or the one that a field selector names."""
        (field,) = query.get("fieldSelector", [""])
        name = field.removeprefix("metadata.name=")
        with self.lock:
            return [
                found
                for key, found in self.objects.items()
                if key.rpartition("/")[0] == path and name in ("", found["metadata"]["name"])
            ]

    def remove(self, path: str) -> Object | None:
        with self.lock:
            return self.objects.pop(path, None)


def discovery(path: str) -> Object | None:
    """What the server says of itself."""
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [
            {
                "name": version.split("/")[0],
                "versions": [{"groupVersion": version, "version": version.split("/")[1]}],
                "preferredVersion": {"groupVersion": version, "version": version.split("/")[1]},
            }
            for version in KINDS
            if "/" in version
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        return None
    resources = [
        {
            "name": plural(kind),
            "kind": kind,
            "namespaced": True,
            "verbs": ["get", "patch", "create"],
        }
        for kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


class Handler(BaseHTTPRequestHandler):
    # One request a connection: Helm keeps idle ones for longer than the tests last.
    protocol_version = "HTTP/1.0"
    cluster: Cluster

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing on stderr."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/openapi/v2":
            return self._send(200, b"")
        found = discovery(url.path) or self.cluster.objects.get(url.path)
        if found is not None:
            return self._json(200, found)
        if url.path.rsplit("/", 1)[-1] in {plural(k) for kinds in KINDS.values() for k in kinds}:
            items = self.cluster.under(url.path, query)
            if query.get("watch", ["0"])[0] in ("1", "true"):
                return self._watch(items)
            return self._json(
                200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}
            )
        return self._missing()

    def do_POST(self) -> None:
        given = self._body()
        path = f"{urlsplit(self.path).path}/{given['metadata']['name']}"
        if path in self.cluster.objects:
            return self._status(409, "AlreadyExists", path)
        return self._json(201, self.cluster.put(path, given) or {})

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        given = self._body()
        if self.headers["content-type"] != "application/apply-patch+yaml":
            given = merged(self.cluster.objects.get(path, {}), given)
        made = self.cluster.put(path, given)
        if made is None:
            return self._status(422, "Invalid", f"{path}: field is immutable")
        return self._json(200, made)

    do_PUT = do_PATCH  # noqa: N815 - the base class' name

    def do_DELETE(self) -> None:
        self._body()
        if self.cluster.remove(urlsplit(self.path).path) is None:
            return self._missing()
        return self._json(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _body(self) -> Object:
        text = self.rfile.read(int(self.headers.get("content-length", 0)))
        found: Object = yaml.safe_load(text) or {}
        return found

    def _watch(self, items: list[Object]) -> None:
        """What is there, the mark that this was all, and the end."""
        kind = items[0] if items else {"kind": "Pod", "apiVersion": "v1"}
        mark = {
            "kind": kind["kind"],
            "apiVersion": kind["apiVersion"],
            "metadata": {
                "resourceVersion": "1",
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        }
        events = [{"type": "ADDED", "object": item} for item in items]
        lines = [*events, {"type": "BOOKMARK", "object": mark}]
        self._send(200, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def _missing(self) -> None:
        self._status(404, "NotFound", f"{self.path} not found")

    def _status(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self._json(code, {**status, "code": code, "reason": reason, "message": message})

    def _json(self, code: int, found: Object) -> None:
        self._send(code, json.dumps(found).encode())

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def merged(before: Object, patch: Object) -> Object:
    """A merge patch: null takes a key away."""
    result = dict(before)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@contextmanager
def running() -> Iterator[tuple[str, Cluster]]:
    """The server's address and its objects."""
    cluster = Cluster()
    handler = type("ClusterHandler", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
