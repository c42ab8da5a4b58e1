"""The real engines behind the gateway: vLLM as generator and as reward model, the reward server."""

from __future__ import annotations

import os
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

MODEL = "demo"
CONTEXT = 512
BOOT_S = 400.0
"""An engine takes 60 to 80 s on two idle cores; several share them."""
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
ONE_PROCESS_FLAGS = ("--distributed-executor-backend", "uni")
"""An engine that computes in its server's process, where others have three: it boots sooner, needs
less memory and does not spin while it waits, but computing holds up its HTTP side."""


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
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=60, verify=False)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

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


def start_generator(processes: Processes, name: str, *flags: str) -> Generator:
    process, port = start_vllm(processes, name, str(demo_models.policy_path()), [*TOOLS, *flags])
    return Generator(process, port, "/health")


def start_pooling(processes: Processes) -> Upstream:
    model = str(demo_models.reward_path())
    process, port = start_vllm(
        processes, "vllm-reward", model, ["--runner", "pooling"], one_process=True
    )
    return Upstream(process, port, "/health")


def start_vllm(
    processes: Processes, name: str, model: str, flags: Sequence[str], *, one_process: bool = False
) -> tuple[Process, int]:
    """vLLM on any model folder, in float32 on the CPU, and its port."""
    port = free_port()
    command = [
        os.environ["BON_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server",
        "--model", model, "--served-model-name", MODEL,
        "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", str(CONTEXT), "--enforce-eager", *flags,
        *(ONE_PROCESS_FLAGS if one_process else ()),
    ]  # fmt: skip
    environment = ENVIRONMENT | ONE_PROCESS if one_process else ENVIRONMENT
    return processes.start(name, command, environment), port


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
        "--port", str(port), "--torch-threads", "1", *flags,
    ]  # fmt: skip
    if descriptors is not None:
        command = with_descriptors(command, descriptors)
    return Upstream(processes.start("reward-server", command), port, "/readyz")
