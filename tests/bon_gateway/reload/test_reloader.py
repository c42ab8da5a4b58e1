"""Settings that change under a gateway that serves: a real process, a real upstream."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from bon_common.keys import digest
from bon_gateway.reload.reloader import fixed_changes, runtime_settings
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.growing_logs import entries
from tests.waiting import until

PATIENCE_S = 30.0
ROOT = Path(__file__).parents[3]


class Running:
    """``bon-gateway serve`` on a file that the test changes."""

    def __init__(self, folder: Path, upstream: FakeUpstream) -> None:
        self.config = folder / "gateway.yaml"
        self.keys = folder / "keys"
        self.tree: dict[str, Any] = {
            "policies": {"p": {"type": "vllm", "urls": [upstream.url], "probe_interval_s": 0.1}},
            "models": {"a": {"policy": "p", "strategy": {"type": "single"}}},
            "server": {"port": 0, "reload_interval_s": 0},
        }
        self._log = folder / "stderr"
        self._log.touch()
        self.process: subprocess.Popen[bytes]
        self.http: httpx.AsyncClient

    def write(self, **sections: Any) -> None:
        """Whole at once, as editors and ConfigMaps do."""
        self.tree.update(sections)
        self.write_text(yaml.safe_dump(self.tree))

    def write_text(self, text: str) -> None:
        other = self.config.with_suffix(".new")
        other.write_text(text)
        other.replace(self.config)

    def write_keys(self, **keys: str) -> None:
        lines = [f"{name}: sha256:{digest(key).hex()}\n" for name, key in keys.items()]
        other = self.keys.with_suffix(".new")
        other.write_text("".join(lines))
        other.replace(self.keys)

    async def start(self) -> None:
        self.write()
        command = [sys.executable, "-m", "bon_gateway", "serve", "--config", str(self.config)]
        self.process = self._begin(command)
        await until(lambda: self.process.poll() is not None or self._url, what="it listens")
        assert self.process.poll() is None, self.stderr
        self.http = httpx.AsyncClient(base_url=self._url, timeout=PATIENCE_S, verify=False)
        async with asyncio.timeout(PATIENCE_S):
            while (await self.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)

    def _begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            return subprocess.Popen(command, stderr=log, env=environ)

    def members(self) -> list[psutil.Process]:
        """The process and its workers."""
        server = psutil.Process(self.process.pid)
        return [server, *(c for c in server.children() if "spawn_main" in str(c.cmdline()))]

    async def stop(self) -> None:
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, PATIENCE_S)
        await self.http.aclose()

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    @property
    def _url(self) -> str:
        found = re.search(r"^listening on (\S+)$", self.stderr, re.MULTILINE)
        return found[1] if found else ""

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in entries(self.stderr) if message in line["message"]]

    async def reload(self, message: str = "the settings are reloaded", times: int = 1) -> None:
        """SIGHUP, and what it leads to ``times`` times."""
        wanted = len(self.said(message)) + times
        self.process.send_signal(signal.SIGHUP)
        await until(lambda: len(self.said(message)) >= wanted, what=message)

    async def chat(self, model: str = "a", key: str = "none", **body: Any) -> httpx.Response:
        return await self.http.post(
            "/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": "hi"}], **body},
            headers={"authorization": f"Bearer {key}"},
        )

    async def value(self, metric: str) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(metric + " "))


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
async def running(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Running]:
    server = Running(tmp_path, upstream)
    yield server
    await server.stop()


async def test_a_revoked_key_is_refused_from_the_next_request_on(running: Running) -> None:
    running.write_keys(alice="k1", bob="k2")
    running.tree["auth"] = {"keys_file": str(running.keys)}
    running.tree["server"]["host"] = "127.0.0.1"
    await running.start()
    assert (await running.chat(key="k1")).status_code == 200
    running.write_keys(bob="k2", carol="k3")

    await running.reload()

    assert [(await running.chat(key=k)).status_code for k in ("k1", "k2", "k3")] == [401, 200, 200]
    (line,) = running.said("the settings are reloaded")
    assert line["keys_changed"] is True
    assert line["backends_new"] == []


async def test_the_last_key_cannot_be_taken_away(running: Running) -> None:
    running.write_keys(alice="k1")
    running.tree["auth"] = {"keys_file": str(running.keys)}
    await running.start()
    del running.tree["auth"]
    running.write()

    await running.reload("the settings are refused")

    assert (await running.chat(key="other")).status_code == 401
    assert (await running.chat(key="k1")).status_code == 200


async def test_models_strategies_and_limits_change(
    running: Running, upstream: FakeUpstream
) -> None:
    running.tree["rewards"] = {"r": {"type": "reward_server", "urls": [upstream.url]}}
    await running.start()
    probes_and_more = upstream.requests
    best = {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 3}}
    running.write(
        models={"a": best, "b": running.tree["models"]["a"]}, limits={"max_body_bytes": 2000}
    )

    await running.reload()

    answer = (await running.chat()).json()
    assert len(answer["bon"]["candidates"]) == 3
    assert (await running.chat("b")).status_code == 200
    assert (await running.chat("b", stop="x" * 3000)).status_code == 413
    listed = (await running.http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["a", "b"]
    text = (await running.http.get("/metrics")).text
    assert 'bon_requests_total{model="b",status="200",strategy="single"} 1.0' in text
    # Neither backend changed, so neither was warmed up again.
    warm_ups = [c for c in upstream.calls[probes_and_more:] if "x-request-id" not in c.headers]
    assert len([c for c in warm_ups if c.path == "/v1/chat/completions"]) == 0


async def test_a_new_verifier_is_opened_and_one_that_stays_goes_on(
    running: Running, upstream: FakeUpstream
) -> None:
    await running.start()
    hook = {"type": "http", "url": f"{upstream.url}/verify"}
    verified = {"policy": "p", "strategy": {"type": "majority", "n": 2}, "verifier": [hook]}
    running.write(models={"a": verified})

    await running.reload()

    for limits in ({"max_messages": 7}, {"max_messages": 8}):
        answer = (await running.chat()).json()
        outcomes = [one["verdicts"]["http"]["outcome"] for one in answer["bon"]["candidates"]]
        assert outcomes == ["pass", "pass"]
        running.write(limits=limits)
        await running.reload()


async def test_a_mix_asks_the_new_upstream_of_one_of_its_parts(
    running: Running, upstream: FakeUpstream
) -> None:
    plain = running.tree["policies"]["p"]
    mix = {"type": "variants", "of": [{"policy": "p"}, {"policy": "q"}]}
    drawn = {"policy": "mix", "strategy": {"type": "majority", "n": 4}}
    running.tree["policies"] |= {"q": plain, "mix": mix}
    running.tree["models"] = {"a": drawn}
    await running.start()
    assert (await running.chat()).json()["bon"]["degraded"] is None
    async with FakeUpstream() as new:
        running.tree["policies"]["q"] = {**plain, "urls": [new.url]}
        for limits in ({}, {"max_messages": 7}):  # the second reload leaves all policies alone
            running.write(limits=limits)
            await running.reload()
            asked = len(upstream.calls), len(new.calls)
            answer = (await running.chat()).json()
            assert answer["bon"]["degraded"] is None
            labels = [candidate["variant"] for candidate in answer["bon"]["candidates"]]
            assert labels == ["p", "q", "p", "q"]
            assert (len(upstream.calls), len(new.calls)) == (asked[0] + 1, asked[1] + 1)
    first, second = running.said("the settings are reloaded")
    # The mix has the same settings. It is made anew of a policy that has others.
    assert (first["backends_new"], second["backends_new"]) == (["policies.q"], [])


async def test_a_cascade_asks_the_new_upstream_of_its_first_policy(
    running: Running, upstream: FakeUpstream
) -> None:
    plain = running.tree["policies"]["p"]
    cascade = {"type": "cascade", "first": "small", "threshold": -100, "n": 2}
    running.tree["policies"]["small"] = plain
    running.tree["rewards"] = {"r": {"type": "reward_server", "urls": [upstream.url]}}
    running.tree["models"] = {"a": {"policy": "p", "reward": "r", "strategy": cascade}}
    await running.start()
    async with FakeUpstream() as new:
        running.write(policies={"p": plain, "small": {**plain, "urls": [new.url]}})
        await running.reload()
        asked = len(new.calls)
        bon = (await running.chat()).json()["bon"]
        assert (bon["stopped"], bon["degraded"], len(new.calls)) == ("good_enough", None, asked + 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("models: [", "not YAML"),
        ("polices: {}", "polices: unknown key"),
        ("", "models: no model is left"),
        ("policies: {p: {type: vllm, urls: ['http://h:99999']}}", "policies.p.urls.0: "),
    ],
)
async def test_a_file_that_is_no_good_is_refused_and_the_one_before_stays(
    running: Running, text: str, reason: str
) -> None:
    await running.start()
    assert await running.value("bon_config_last_reload_successful") == 1
    good = await running.value("bon_config_last_reload_timestamp_seconds")
    running.write_text(text)

    await running.reload("the settings are refused")

    (line,) = running.said("the settings are refused")
    assert line["level"] == "error"
    assert reason in line["message"]
    assert (await running.chat()).status_code == 200
    assert await running.value("bon_config_last_reload_successful") == 0
    running.write()
    await running.reload("the settings have not changed")
    assert await running.value("bon_config_last_reload_successful") == 1
    assert await running.value("bon_config_last_reload_timestamp_seconds") > good


async def test_what_only_a_restart_can_change_is_said_and_stays(running: Running) -> None:
    await running.start()
    running.write(server={**running.tree["server"], "port": 1, "workers": 2, "access_log": False})

    await running.reload()

    (line,) = running.said("only a restart")
    assert line["message"].endswith(": server.port, server.workers")
    assert (await running.chat()).status_code == 200
    assert not [r for r in running.said("request") if r.get("path") == "/v1/chat/completions"]


async def test_what_is_probably_not_meant_is_said_once(
    running: Running, upstream: FakeUpstream
) -> None:
    def models(n: int) -> dict[str, Any]:
        return {
            name: {"policy": "p", "reward": "j", "strategy": {"type": "best_of_n", "n": count}}
            for name, count in (("a", 2), ("b", n))
        }

    judge = {"type": "judge", "urls": [upstream.url], "budget": {"calls": 1}}
    running.write(rewards={"j": judge}, models=models(1))
    await running.start()
    (line,) = running.said("is enough for")
    assert line["level"] == "warning"
    assert line["message"].startswith("models.a draws 2 candidates, and rewards.j.budget.calls (1)")
    running.write(models=models(3))

    await running.reload()

    await until(lambda: len(running.said("is enough for")) > 1)
    (_, line) = running.said("is enough for")
    assert line["message"].startswith("models.b draws 3 candidates")


async def test_no_request_is_lost_over_twenty_reloads(
    running: Running, upstream: FakeUpstream
) -> None:
    """Of settings that change the upstream's own backend each time, under load."""
    upstream.script = lambda _: Step(delay_s=0.02)
    await running.start()
    done = asyncio.Event()
    statuses: list[int] = []

    async def ask() -> None:
        while not done.is_set():
            statuses.append((await running.chat()).status_code)

    clients = [asyncio.create_task(ask()) for _ in range(8)]
    for turn in range(20):
        running.tree["policies"]["p"]["timeout_s"] = 60 + turn
        running.write()
        await running.reload()
    done.set()
    await asyncio.gather(*clients)

    assert len(statuses) > 20
    assert set(statuses) == {200}
    # What was replaced is closed: one backend is left, with the connections of eight clients.
    await until(
        lambda: upstream.connections <= 10, what="the connections of old backends are closed"
    )


async def test_a_stream_ends_as_it_began_on_an_upstream_that_is_gone_from_the_settings(
    running: Running, upstream: FakeUpstream
) -> None:
    upstream.script = lambda _: Step(token_s=0.05, tokens=40)
    await running.start()
    async with FakeUpstream() as other:
        body = {"model": "a", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with running.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            chunks = [await anext(lines)]
            running.tree["policies"] = {"q": {"type": "vllm", "urls": [other.url]}}
            running.write(models={"c": {"policy": "q", "strategy": {"type": "single"}}})
            await running.reload()
            assert upstream.running == 1
            assert (await running.chat("c")).status_code == 200
            assert (await running.chat("a")).status_code == 404
            chunks += [line async for line in lines]
        assert chunks[-2:] == ["data: [DONE]", ""]
        assert sum('"content"' in chunk for chunk in chunks) >= 40
        await until(lambda: upstream.connections == 0, what="the old upstream is let go")
        states = (await running.http.get("/readyz")).json()["upstreams"]
        assert [name.split(".")[1] for name in states] == ["q"]


@pytest.mark.parametrize("linked", [False, True])
async def test_a_changed_file_is_found_without_a_signal(running: Running, linked: bool) -> None:
    """In place, or as a ConfigMap changes: a link to a folder that is swapped."""
    running.tree["server"]["reload_interval_s"] = 0.05
    if linked:
        (running.config.parent / "one").mkdir()
        (running.config.parent / "data").symlink_to("one")
        running.config.symlink_to("data/gateway.yaml")
        running.config = running.config.parent / "one" / "gateway.yaml"
        running.write()
        running.config = running.config.parent.parent / "gateway.yaml"
        running.write = lambda **_: None  # type: ignore[method-assign]
    await running.start()
    models = {"b": running.tree["models"]["a"]}
    if linked:
        second = running.config.parent / "two"
        second.mkdir()
        (second / "gateway.yaml").write_text(yaml.safe_dump({**running.tree, "models": models}))
        new = running.config.parent / "data.new"
        new.symlink_to("two")
        new.replace(running.config.parent / "data")
    else:
        running.config.write_text(yaml.safe_dump({**running.tree, "models": models}))

    await until(lambda: running.said("the settings are reloaded"), what="the change is found")

    assert (await running.chat("b")).status_code == 200


async def test_every_worker_reloads_and_a_new_one_begins_with_the_newest(
    running: Running,
) -> None:
    running.tree["server"]["workers"] = 2
    await running.start()
    running.write(models={"b": running.tree["models"]["a"]})
    await running.reload(times=2)
    running.write_text("models: [")
    await running.reload("the settings are refused", times=2)

    async def statuses() -> set[int]:
        async def one() -> int:
            async with httpx.AsyncClient(
                base_url=running.http.base_url, timeout=PATIENCE_S, verify=False
            ) as http:
                body = {"model": "b", "messages": [{"role": "user", "content": "hi"}]}
                return (await http.post("/v1/chat/completions", json=body)).status_code

        return set(await asyncio.gather(*(one() for _ in range(16))))

    assert await statuses() == {200}
    workers = running.members()[1:]
    assert len(workers) == 2

    for worker in workers:
        worker.kill()

    refused = len(running.said("the settings are refused"))
    await until(
        lambda: len(running.said("the settings are refused")) >= refused + 2, what="replaced"
    )
    await until(lambda: len(running.said("a worker died")) == 2, what="both were missed")
    assert await statuses() == {200}


@pytest.mark.parametrize("workers", [1, 2])
async def test_hanging_up_never_ends_it_not_even_while_it_starts(
    running: Running, workers: int
) -> None:
    running.tree["server"]["workers"] = workers
    start = asyncio.create_task(running.start())
    await asyncio.sleep(0)
    # Workers take their time to start; a server that is one process says when it has.
    await until(
        lambda: running.stderr or (workers > 1 and len(running.members()) > workers),
        what="it begins",
    )
    while not start.done():
        for process in running.members():
            process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.02)
    await start

    seen = len(running.said("the settings have not changed"))

    def answered() -> bool:
        # Signals that come close together are answered once, so one more may not show.
        running.process.send_signal(signal.SIGHUP)
        return len(running.said("the settings have not changed")) > seen + workers

    await until(answered, what="it reloads")
    assert (await running.chat()).status_code == 200
    assert not running.said("a worker died")


async def test_its_end_is_said_when_it_begins_and_when_it_is_over(running: Running) -> None:
    await running.start()
    running.process.terminate()
    await until(lambda: running.process.poll() is not None, what="it ends")

    assert running.process.returncode == 0
    (begin,), (end,) = running.said("stopping"), running.said("stopped")
    assert begin["signal"] == "SIGTERM"
    assert begin["requests_in_flight"] == 0
    assert end["after_s"] >= 0


def make(**server: Any) -> Settings:
    tree = {
        "policies": {"p": {"type": "vllm", "urls": ["http://h:1"]}},
        "models": {"a": {"policy": "p", "strategy": {"type": "single"}}},
        "server": server,
    }
    return Settings.model_validate(tree)


def test_only_what_sockets_and_uvicorn_hold_stays() -> None:
    before = make(port=1, host="h", drain_grace_s=1.0, keepalive_s=1.0)
    after = make(port=2, host="g", drain_grace_s=2.0, keepalive_s=2.0, log_level="debug")
    assert fixed_changes(before, after) == ["host", "port", "drain_grace_s"]
    merged = runtime_settings(before, after).server
    assert (merged.port, merged.host, merged.drain_grace_s) == (1, "h", 1.0)
    assert (merged.keepalive_s, merged.log_level) == (2.0, "debug")
