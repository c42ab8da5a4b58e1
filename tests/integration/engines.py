"""The real engines behind the gateway: vLLM as generator and as reward model, the reward server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bon_gateway import demo_models
from tests.integration.exposition import get, scrape, total
from tests.integration.processes import Process, Processes, with_descriptors
from tests.ports import free_port
from tests.vllm_forks import SERVER, SERVER_FLAGS, VllmForks

MODEL = "demo"
CONTEXT = 512
BOOT_S = 400.0
"""It takes 5 s on an idle core once vLLM is imported, which takes 15 s, and a minute where nothing
of it has been read before. Several engines and other tests share two cores."""
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")


@dataclass(frozen=True)
class Upstream:
    """A server that the gateway calls."""

    process: Process
    port: int
    health: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request straight to it, past the gateway."""
        answer = self.answer(path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def answer(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """The same, whatever the answer is."""
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, verify=False)

    def wait(self) -> None:
        self.process.wait_until(self._healthy, BOOT_S, "it is healthy")

    def _healthy(self) -> bool:
        try:
            return get(f"{self.url}{self.health}", 2).status_code == 200
        except httpx.TransportError:
            return False


class Generator(Upstream):
    """vLLM on the demo policy, with its own account of what it has done."""

    @property
    def running(self) -> float:
        text = scrape(self.url)
        return total(text, "vllm:num_requests_running") + total(text, "vllm:num_requests_waiting")

    @property
    def generated(self) -> float:
        """Tokens since its start."""
        return total(scrape(self.url), "vllm:generation_tokens_total")

    @property
    def finished(self) -> float:
        """Candidates that have come to their own end since its start."""
        return total(scrape(self.url), "vllm:request_success_total")

    def generates_since(self, before: float) -> bool:
        """Whether there are more than the tokens of before."""
        return self.generated > before

    def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.post("/v1/chat/completions", {"model": MODEL, **body})


def start_generator(processes: Processes, forks: VllmForks, name: str, *flags: str) -> Generator:
    model = str(demo_models.policy_path())
    process, port = start_vllm(processes, forks, name, model, [*TOOLS, *flags])
    return Generator(process, port, "/health")


def start_pooling(processes: Processes, forks: VllmForks) -> Upstream:
    model = str(demo_models.reward_path())
    process, port = start_vllm(processes, forks, "vllm-reward", model, ["--runner", "pooling"])
    return Upstream(process, port, "/health")


def start_vllm(
    processes: Processes,
    forks: VllmForks,
    name: str,
    model: str,
    flags: Sequence[str],
    environ: Mapping[str, str] | None = None,
) -> tuple[Process, int]:
    """vLLM on any model folder, in float32 on the CPU, and its port."""
    port = free_port()
    arguments = [
        "--model", model, "--served-model-name", MODEL, "--max-model-len", str(CONTEXT),
        "--host", "127.0.0.1", "--port", str(port), *SERVER_FLAGS, *flags,
    ]  # fmt: skip
    return processes.fork(forks, name, SERVER, arguments, environ), port


def start_reward_server(
    processes: Processes,
    model: Path | None = None,
    flags: Sequence[str] = (),
    descriptors: int | None = None,
) -> Upstream:
    """On the demo reward model unless told otherwise."""
    port = free_port()
    model = model or demo_models.reward_path()
    command = [
        sys.executable, "-m", "reward_server", "--model", str(model),
        "--port", str(port), "--threads", "1", *flags,
    ]  # fmt: skip
    if descriptors is not None:
        command = with_descriptors(command, descriptors)
    return Upstream(processes.start("reward-server", command), port, "/readyz")
