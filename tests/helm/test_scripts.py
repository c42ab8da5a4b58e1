"""What the chart runs inside its pods, taken from what is rendered and really run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from bon_common.keys import digest
from bon_gateway.testing.upstream import FakeUpstream
from tests.helm.kit import RELEASE, Object, case, gateway_config, laid_over, named, of_kind, render

PREFIX = f"{RELEASE}-bon-gateway"
SECONDS = 100


def command(container: Object) -> list[str]:
    """A container's command line with this Python."""
    words = [*container["command"], *container.get("args", [])]
    assert words[0] == "python3"
    return [sys.executable, *words[1:]]


@contextmanager
def answering(body: Any) -> Iterator[str]:
    """A server on a free port that answers every GET and HEAD with ``body(path)``: the text and
    its headers, or None for a 404. Its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
            """Nothing on stderr."""

        def do_GET(self) -> None:
            found = body(self.path)
            text, headers = ("", {}) if found is None else found
            self.send_response(404 if found is None else 200)
            for name, value in {"content-length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(text.encode())

        do_HEAD = do_GET  # noqa: N815 - the base class' name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Before a pod ends ------------------------------------------------------------------------------


def drain(kind: str, url: str, delay: float, longest: float) -> list[str]:
    """The rendered hook of a generator or a reward server, with other times and another port."""
    container = named(render(case("everything")), "Deployment", f"{PREFIX}-{kind}")
    hook = container["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]
    words: list[str] = hook["exec"]["command"]
    assert words[0] == "python3"
    assert words[3].startswith("http://127.0.0.1:")
    return [sys.executable, *words[1:3], f"{url}/metrics", str(delay), str(longest), *words[6:]]


def vllm(running: int, waiting: int) -> str:
    return (
        f'vllm:num_requests_running{{engine="0"}} {running}.0\n'
        f'vllm:num_requests_waiting{{engine="0"}} {waiting}.0\n'
        f'vllm:num_requests_waiting_by_reason{{engine="0"}} 7.0\n'
    )


def reward_server(under_way: int) -> str:
    return (
        f"reward_server_requests_under_way {under_way}.0\n"
        "reward_server_requests_under_way_created 7.0\n"
    )


@pytest.mark.parametrize(
    ("kind", "busy", "idle"),
    [
        ("generator-base", vllm(3, 0), vllm(0, 0)),
        ("generator-base", vllm(0, 1), vllm(0, 0)),
        ("reward-helpful", reward_server(2), reward_server(0)),
    ],
)
def test_a_pod_waits_for_what_is_in_flight(kind: str, busy: str, idle: str) -> None:
    asked: list[str] = []

    def metrics(path: str) -> tuple[str, dict[str, str]]:
        asked.append(path)
        return (busy if len(asked) < 3 else idle), {}

    with answering(metrics) as url:
        done = subprocess.run(drain(kind, url, 0.2, 60), check=False, timeout=SECONDS)
    assert done.returncode == 0
    assert asked == ["/metrics"] * 3


def test_a_pod_waits_no_longer_than_it_may() -> None:
    with answering(lambda path: ("vllm:num_requests_running 1.0\n", {})) as url:
        began = time.monotonic()
        done = subprocess.run(drain("generator-base", url, 0, 1.5), check=False, timeout=SECONDS)
        assert 1.5 <= time.monotonic() - began < SECONDS
    assert done.returncode == 0


def test_a_dead_server_has_nothing_to_wait_for() -> None:
    with answering(lambda path: None) as url:
        pass
    done = subprocess.run(drain("generator-base", url, 0, 60), check=False, timeout=SECONDS)
    assert done.returncode == 0


# Models -----------------------------------------------------------------------------------------


def hub(path: str) -> tuple[str, dict[str, str]] | None:
    """As much of a model hub as one small repository needs."""
    commit = "a" * 40
    files = {"config.json": '{"model_type": "llama"}', "weights.bin": "weights"}
    if path.startswith("/api/models/owner/"):
        repository = path.split("/")[4]
        siblings = [{"rfilename": name} for name in files]
        entry: Any = {"id": f"owner/{repository}", "sha": commit, "siblings": siblings}
        if "/tree/" in path:
            entry = [
                {"type": "file", "path": name, "size": len(text), "oid": name}
                for name, text in files.items()
            ]
        return json.dumps(entry), {"content-type": "application/json"}
    text = files.get(path.rsplit("/", 1)[-1])
    if text is None:
        return None
    return text, {"etag": f'"{hashlib.sha256(text.encode()).hexdigest()}"', "x-repo-commit": commit}


def test_models_are_fetched_once_and_awaited(tmp_path: Path) -> None:
    objects = render(case("everything"))
    (job,) = [o for o in of_kind(objects, "Job") if "download" in o["metadata"]["name"]]
    (download,) = job["spec"]["template"]["spec"]["containers"]
    models = download["args"][1:]
    assert models == ["owner/policy@main", "owner/reward@main"]
    generator = named(objects, "Deployment", f"{PREFIX}-generator-base")
    (waits,) = generator["spec"]["template"]["spec"]["initContainers"]
    assert waits["args"] == ["/models", "owner/policy@main"]

    def here(container: Object) -> list[str]:
        return [word.replace("/models", str(tmp_path)) for word in command(container)]

    env = {
        variable["name"]: variable["value"].replace("/models", str(tmp_path))
        for variable in download["env"]
        if "value" in variable
    }
    waiting = subprocess.Popen(here(waits), stdout=subprocess.PIPE, text=True)
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting for owner/policy@main\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        with answering(hub) as url:
            env |= {"HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1", "PATH": os.environ["PATH"]}
            fetched = subprocess.run(
                here(download),
                env=env,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
        assert fetched.returncode == 0, fetched.stderr
        assert waiting.wait(SECONDS) == 0
    finally:
        waiting.kill()
        waiting.wait()
        assert waiting.stdout is not None
        waiting.stdout.close()
    snapshots = list((tmp_path / ".hub").rglob("snapshots/*/config.json"))
    assert len(snapshots) == 2
    assert env["HF_HOME"] == f"{tmp_path}/.hub"
    # Again, and the hub is not even there.
    again = subprocess.run(
        here(download), env=env, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert again.stdout.splitlines() == [f"{model} is there" for model in models]


# helm test --------------------------------------------------------------------------------------


@asynccontextmanager
async def gateway(
    values: dict[str, Any], tmp_path: Path, environ: dict[str, str]
) -> AsyncIterator[str]:
    """A gateway that runs with the settings that the chart renders. Its address."""
    config = tmp_path / "config.yaml"
    config.write_text(gateway_config(render(values)))
    flags = ["serve", "--config", str(config), "--host", "127.0.0.1", "--port", "0"]
    flags += ["--set", "server.drain_delay_s=0"]
    if (tmp_path / "keys.txt").exists():
        flags += ["--set", f"auth.keys_file={tmp_path / 'keys.txt'}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bon_gateway",
        *flags,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    try:
        yield await ready(process)
    finally:
        process.terminate()
        await process.communicate()


async def ready(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(SECONDS):
        while not said.startswith("listening on "):
            line = await process.stderr.readline()
            assert line, said
            said = line.decode()
        url = said.split()[2]
        async with httpx.AsyncClient() as client:
            while (await client.get(f"{url}/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
    return url


async def smoke(values: dict[str, Any], url: str, key: str = "") -> tuple[int, str, str]:
    """The test pod of the chart, against another address."""
    (pod,) = of_kind(render(values), "Pod")
    (container,) = pod["spec"]["containers"]
    words = command(container)
    assert words[3] == f"http://{PREFIX}-gateway:80"
    process = await asyncio.create_subprocess_exec(
        *words[:3],
        url,
        *words[4:],
        env={"API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), SECONDS)
    return process.returncode or 0, out.decode(), error.decode()


def pointed_at(url: str) -> dict[str, Any]:
    upstreams = {
        "policies": {"qwen": {"urls": [url], "model": "fake"}},
        "rewards": {"skywork": {"urls": [url]}},
    }
    return laid_over(case("minimal"), {"gateway": {"settings": upstreams}})


async def test_the_smoke_test_passes_where_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(f"test: sha256:{digest('secret').hex()}\n")
    async with FakeUpstream() as upstream:
        values = pointed_at(str(upstream.url))
        async with gateway(values, tmp_path, {"REWARD_KEY": "reward"}) as url:
            code, out, error = await smoke(values, url, "secret")
            assert (code, error) == (0, "")
            assert out.startswith("assistant answers: ")
            code, out, _ = await smoke(values, url)
            assert (code, out) == (0, "alive and ready; no key was given, so no model was asked\n")
            code, _, error = await smoke(values, url, "wrong")
            assert code == 1
            assert "401" in error
            # Without its upstream the gateway is not ready, and the test says so.
            upstream.healthy = False
            async with httpx.AsyncClient() as client, asyncio.timeout(SECONDS):
                while (await client.get(f"{url}/readyz")).status_code == 200:
                    await asyncio.sleep(0.1)
                assert (await client.get(f"{url}/livez")).status_code == 200
            code, _, error = await smoke(values, url, "secret")
            assert code == 1
            assert error.startswith("/readyz: 503")
