"""Servers on this machine to measure against: vLLM on the CPU, and anything else with a health
address. Each is a process group of its own, which is stopped as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import wait_ready
from overhead import free_port

ENGINE_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # vLLM's worker process spins for a second after every step, and its engine process while the
    # worker computes. On two cores two such engines leave nothing for anybody else, so each one
    # computes in its engine process, which the CPU build allows only with this variable.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
STOP_GRACE_S = 15.0
"""Seconds from SIGTERM to SIGKILL."""


def vllm_command(python: str, model: Path, port: int, context: int, *flags: str) -> list[str]:
    """vLLM's OpenAI server in float32 without compilation; the model is named ``demo``."""
    return [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "demo", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", str(context), "--enforce-eager",
        "--distributed-executor-backend", "uni", *flags,
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that is not started yet."""

    command: Sequence[str]
    port: int
    health: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def vllm(python: str, model: Path, context: int, *flags: str) -> Engine:
    port = free_port()
    return Engine(vllm_command(python, model, port, context, *flags), port, "/health")


def rewards(model: Path) -> Engine:
    """A reward server of one thread."""
    port = free_port()
    command = [
        sys.executable, "-m", "reward_server", "--model", str(model),
        "--port", str(port), "--set", "threads=1",
    ]  # fmt: skip
    return Engine(command, port, "/readyz")


@contextlib.contextmanager
def started(engines: Mapping[str, Engine], folder: Path) -> Iterator[dict[str, str]]:
    """The address of each, once all are ready. The folder takes their logs."""
    with contextlib.ExitStack() as stack:
        for name, engine in engines.items():
            print(f"starting {name} ...", flush=True)
            running = stack.enter_context(process(engine.command, folder / f"{name}.log"))
            # One after another: two vLLM boots on one small machine slow each other down.
            try:
                asyncio.run(wait_ready(engine.url + engine.health, running))
            except RuntimeError:
                print((folder / f"{name}.log").read_text(errors="replace")[-2000:], flush=True)
                raise
        yield {name: engine.url for name, engine in engines.items()}


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] = ENGINE_ENVIRONMENT
) -> Iterator[Any]:
    """A process in a group of its own, which is stopped as a whole."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        ) as started,
    ):
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(STOP_GRACE_S)
                # An engine that is still booting heeds nothing else.
                os.killpg(started.pid, signal.SIGKILL)
