"""A real Prometheus over a real gateway in trouble, for what the chart's rules and dashboard ask.

The gateway is a process of its own. The reward server's and vLLM's series come from registries in
this process: the reward server's own metrics, and vLLM's by the names that
``tests/helm/test_metrics`` finds in vLLM.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import httpx
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from reward_server.metrics import Metrics as RewardServerMetrics
from scripts.monitoring import JOBS
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.ports import free_port
from tests.waiting import wait_until

NAMESPACE = "llm"
RELEASE = "demo-bon-gateway"
SCRAPES = 5
MOST_TURNS = 40
REWARD = -2.5
KEY = "a-key-of-the-test"
KEYS = {"BON_GATEWAY_API_KEYS": f"team:{KEY}"}


def answer(call: Call) -> Step:
    """What the prompt asks for: trouble at the generator, or at the reward model."""
    wanted = call.body["messages"] if "messages" in call.body else call.body["items"][0]["messages"]
    text = str(wanted)
    if call.path == "/v1/score":
        broken = "no reward" in text
        return Step(status=500, error="broken") if broken else Step(reward=REWARD)
    if "failure" in text or ("half" in text and call.candidate == 1):
        return Step(status=500, error="broken")
    if "slow" in text:
        return Step(delay_s=0.4)
    return Step(text="an answer", tokens=3)


def settings(upstream: FakeUpstream, recording: Path) -> dict[str, Any]:
    reward = {"type": "reward_server", "urls": [upstream.url], "failures_to_eject": 1000}
    policy = {"type": "vllm", "model": "fake", "failures_to_eject": 1000}
    nowhere = f"http://127.0.0.1:{free_port()}"
    return {
        "policies": {
            "base": {**policy, "urls": [upstream.url], "fan_out": "separate"},
            "gone": {**policy, "urls": [nowhere], "connect_timeout_s": 0.5},
        },
        "rewards": {"helpful": reward},
        "models": {
            name: {"policy": "base", "reward": "helpful", "strategy": strategy}
            for name, strategy in (
                ("assistant", {"type": "best_of_n", "n": 2, "retries": 0}),
                ("thrifty", {"type": "adaptive", "n": 2}),
                ("pruned", {"type": "pruning", "n": 2}),
            )
        },
        "limits": {"max_n": 4, "max_candidates_per_key": 4},
        "recording": {"folder": str(recording), "max_bytes": 1},
    }


def reward_server_series() -> CollectorRegistry:
    """One model's, as busy as the rules watch for."""
    metrics = RewardServerMetrics()
    metrics.under_way.set(1)
    model = metrics.of("helpful")

    def work() -> None:
        model.sequences.inc(8)
        model.tokens.inc(800)
        model.out_of_memory.inc()
        model.queue_sequences.set(9)
        model.queue_seconds.observe(2.0)
        model.model_seconds.observe(0.2)

    return _busy(metrics.registry, work)


def vllm_series() -> CollectorRegistry:
    registry = CollectorRegistry()
    labels = ["model_name", "engine"]

    def gauge(name: str, value: float) -> None:
        Gauge(f"vllm:{name}", name, labels, registry=registry).labels("m", "0").set(value)

    gauge("num_requests_running", 20)
    gauge("num_requests_waiting", 300)
    gauge("kv_cache_usage_perc", 0.99)
    tokens = Counter("vllm:generation_tokens", "tokens", labels, registry=registry)
    preemptions = Counter("vllm:num_preemptions", "preemptions", labels, registry=registry)

    def work() -> None:
        tokens.labels("m", "0").inc(100)
        preemptions.labels("m", "0").inc()

    return _busy(registry, work)


class _Work:
    """Does some work at each scrape, so that rates have something to show."""

    def __init__(self, registry: CollectorRegistry, work: Any) -> None:
        self._registry = registry
        self._work = work

    def collect(self) -> Any:
        self._work()
        return self._registry.collect()


def _busy(registry: CollectorRegistry, work: Any) -> CollectorRegistry:
    outer = CollectorRegistry()
    work()
    outer.register(_Work(registry, work))
    return outer


@contextlib.contextmanager
def exported(registry: CollectorRegistry) -> Iterator[int]:
    server: WSGIServer
    thread: threading.Thread
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Prometheus:
    """Debian's binary, scraping each second."""

    def __init__(self, processes: Processes, folder: Path, targets: Mapping[str, int]) -> None:
        """``targets``: the port of each service of the release, by the end of its name."""
        scrape = {
            "job_name": "release",
            "static_configs": [
                {
                    "targets": [f"127.0.0.1:{port}"],
                    "labels": {
                        "namespace": NAMESPACE,
                        "service": f"{RELEASE}-{service}",
                        "pod": f"{service}-0",
                        "job": JOBS[service.partition("-")[0]],
                    },
                }
                for service, port in targets.items()
            ],
        }
        every = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        config = {"global": every, "scrape_configs": [scrape]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        binary = shutil.which("prometheus")
        assert binary is not None, "tests that need it are skipped without it"
        self.process = processes.start(
            "prometheus",
            [
                binary,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
        )

    def wait(self) -> None:
        self.process.wait_until(self._ready, 30, "is ready")

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", verify=False).status_code == 200
        except httpx.TransportError:
            return False

    def scraped(self, times: int) -> bool:
        """Whether every target that is up was scraped so often."""
        found = self.ask(f"count_over_time(up[10m]) >= {times}")
        return len(found) == len(self.ask("up")) > 0

    def saw_growth(self) -> bool:
        """Whether the failures of the trouble have grown from scrape to scrape."""
        return bool(self.ask('changes(bon_requests_total{status="502"}[10m]) >= 2'))

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query. Raises AssertionError if Prometheus refuses it."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, verify=False)
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


async def trouble(gateway: Gateway, recording: Path, prometheus: Prometheus) -> None:
    """All that the rules watch for: once to make the series, then again until Prometheus has seen
    them grow. A scrape of a busy machine may fail."""
    async with httpx.AsyncClient(
        base_url=gateway.url,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=30,
        verify=False,
    ) as client:

        async def chat(text: str, model: str = "assistant") -> int:
            body = {"model": model, "messages": [{"role": "user", "content": text}]}
            return (await client.post("/v1/chat/completions", json=body)).status_code

        for turn in range(MOST_TURNS):
            if turn >= SCRAPES and await asyncio.to_thread(prometheus.saw_growth):
                return
            for model in ("assistant", "thrifty", "pruned"):
                assert await chat("hello", model) == 200
            assert await chat("no reward") == 200
            assert await chat("half") == 200
            assert await chat("failure") == 502
            statuses = await asyncio.gather(*[chat("slow") for _ in range(6)])
            assert 429 in statuses
            if turn == 0:
                await asyncio.to_thread(_forbid, recording)
            await asyncio.sleep(1.0)
    raise AssertionError("Prometheus does not see the trouble")


def _forbid(recording: Path) -> None:
    """From here on nothing can be recorded: a file takes the folder's place."""
    wait_until(lambda: list(recording.glob("*")), 10, "something is recorded")
    shutil.rmtree(recording)
    recording.write_text("no folder")
