"""The command as a process: start, drain, and what stops it."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from reward_server.errors import StartupError
from reward_server.server import serve
from reward_server.settings import Settings
from tests.reward_server.conftest import sample
from tests.waiting import wait_until

BODY = {"items": [{"messages": [{"role": "user", "content": "q"}], "completions": ["a"]}]}

SLOW = textwrap.dedent(
    """
    import functools, sys, time
    from reward_server import server
    from bon_common.logs import configure
    from reward_server.settings import Settings
    from reward_server.testing import FakeForward, answer_length, answer_of, fake_scorer

    def reward(sequence):
        if answer_of(sequence) == "a":
            time.sleep(float(sys.argv[1]))
        return answer_length(sequence)

    configure("info")
    load = functools.partial(fake_scorer, forward=FakeForward(reward))
    server.create_app = functools.partial(server.create_app, load=load)
    server.serve(Settings(model="fake", port=0, drain_grace_s=float(sys.argv[2])), {})
    """
)
"""The real server around a model that takes its time over the answer `a`."""


LOADING = textwrap.dedent(
    """
    import functools, time
    from reward_server import server
    from bon_common.logs import configure
    from reward_server.settings import Settings

    configure("info")
    load = lambda settings, metrics: time.sleep(60)
    server.create_app = functools.partial(server.create_app, load=load)
    server.serve(Settings(model="fake", port=0), {})
    """
)
"""The real server around a model that takes a minute to load."""


LATE = textwrap.dedent(
    """
    import time
    from reward_server import server

    run = server._Server.run

    def late(self, sockets):
        time.sleep(2)
        run(self, sockets)

    server._Server.run = late
    """
)
"""To be put before: the server is slow to accept its first connection."""


@contextmanager
def started(*command: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        port = json.loads(process.stderr.readline())["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 40)
            yield process, client
    finally:
        process.kill()
        process.communicate()


def test_serves_until_terminated(llama: Path) -> None:
    command = ["-m", "reward_server", "--model", str(llama), "--port", "0", "--device", "cpu"]
    with started(*command) as (process, client):
        assert len(client.post("/v1/score", json=BODY).json()["results"][0]["rewards"]) == 1
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(line.get("path") == "/v1/score" and line["status"] == 200 for line in lines)


def test_it_listens_once_it_says_so() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LATE + LOADING], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        port = json.loads(process.stderr.readline())["port"]
        assert httpx.get(f"http://127.0.0.1:{port}/livez", timeout=20).status_code == 200
    finally:
        process.kill()
        process.communicate()


def test_requests_under_way_are_finished_after_sigterm() -> None:
    with started("-c", SLOW, "1.5", "20") as (process, client), ThreadPoolExecutor() as pool:
        url = str(client.base_url)
        slow = pool.submit(httpx.post, f"{url}/v1/score", json=BODY, timeout=20)
        wait_until(lambda: _under_way(client))
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        refused = httpx.post(f"{url}/v1/score", json=BODY)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert "retry-after" in refused.headers
        assert httpx.get(f"{url}/livez").status_code == 200
        assert slow.result().json()["results"][0]["rewards"] == [1.0]
        assert process.wait(10) == 0


def _under_way(client: httpx.Client) -> bool:
    return sample(client, "reward_server_requests_under_way") == 1


def test_a_server_still_loading_stops_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", LOADING], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = f"http://127.0.0.1:{json.loads(process.stderr.readline())['port']}"
        wait_until(lambda: httpx.get(f"{url}/livez").status_code == 200)
        assert httpx.get(f"{url}/readyz").json()["error"]["code"] == "model_loading"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_grace_period_ends() -> None:
    with started("-c", SLOW, "4", "0.2") as (process, client), ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.post, f"{client.base_url}/v1/score", json=BODY, timeout=20)
        wait_until(lambda: _under_way(client))
        process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.HTTPError):
            slow.result().raise_for_status()
        process.wait(10)


def test_a_second_signal_ends_it_at_once() -> None:
    with started("-c", SLOW, "15", "20") as (process, client), ThreadPoolExecutor() as pool:
        url = str(client.base_url)
        slow = pool.submit(httpx.post, f"{url}/v1/score", json=BODY, timeout=20)
        wait_until(lambda: _under_way(client))
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5
        assert isinstance(slow.exception(), httpx.TransportError)


def test_a_model_that_cannot_be_served_ends_the_server(llama: Path) -> None:
    with pytest.raises(StartupError) as caught:
        serve(Settings(model=str(llama), device="cpu", max_tokens=9999, port=0), {})
    assert caught.value.key == "max_tokens"


def test_a_missing_folder_is_named_with_exit_code_two(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    command = [sys.executable, "-m", "reward_server", "--model", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    # It does not listen for a model that it cannot load.
    assert done.stderr == f"reward-server: startup: model: there is no such folder: {folder}\n"


def test_every_missing_folder_is_found_before_anything_is_loaded(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"first": {"model": str(llama)}, "second": {"model": str(tmp_path / "missing")}}
    monkeypatch.setattr("reward_server.server.create_app", None)
    with pytest.raises(StartupError, match="there is no such folder"):
        serve(Settings.model_validate({"models": models, "port": 0}), {})


def test_a_port_in_use_is_one_line_and_exit_code_two(llama: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "reward_server", "--model", str(llama), "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    reason = f"cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert done.stderr == f"reward-server: server: port: {reason}\n"


def test_hanging_up_reads_the_keys_again_and_never_ends_it(tmp_path: Path) -> None:
    def line(name: str, key: str) -> str:
        return f"{name}: sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"

    def asked(client: httpx.Client, key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return client.post("/v1/score", json=BODY, headers=headers).status_code

    path = tmp_path / "keys"
    path.write_text(line("ann", "one"))
    code = SLOW.replace("port=0,", f"port=0, host='127.0.0.1', api_keys_file={str(path)!r},")
    with started("-c", code, "0", "5") as (process, client):
        assert (asked(client, "one"), asked(client, "two")) == (200, 401)
        path.write_text(line("bob", "two"))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: asked(client, "two") == 200)
        assert asked(client, "one") == 401
        path.write_text("")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    entries = [json.loads(entry) for entry in log.splitlines()]
    (stopping,) = [entry for entry in entries if entry["message"] == "stopping"]
    assert (stopping["signal"], stopping["drain_delay_s"]) == ("SIGTERM", 5.0)
    assert entries[-1]["message"] == "stopped"
