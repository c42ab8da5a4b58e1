"""Imports vLLM once, and forks from there whatever runs in it: servers, and short programs.

Importing vLLM takes 12 s of CPU time or more, in each of a server's two or three processes. All
else that a server with a small model does before it is ready takes about 4 s.

The interpreter that has vLLM runs this. Each line of stdin is an order as JSON: run a program, or
tell whether a process has ended. Each order gets one line of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

# What a server and its engine import when they start.
import vllm.entrypoints.launchers.api_server.entry
import vllm.entrypoints.openai.api_server
import vllm.v1.engine.async_llm
import vllm.v1.engine.core
import vllm.v1.engine.core_client
import vllm.v1.executor.uniproc_executor
import vllm.v1.worker.cpu_model_runner
import vllm.v1.worker.cpu_worker  # noqa: F401
from vllm.platforms.cpu import CpuPlatform


@dataclass(frozen=True)
class Program:
    path: str
    arguments: Sequence[str]
    environ: dict[str, str]
    stdin: str
    stdout: str
    stderr: str


@dataclass
class ForkServer:
    answers: TextIO
    ended: dict[int, int] = field(default_factory=dict)

    def serve(self) -> Program | None:
        """Fork for each program. Returns it in the new process, and None in this one at the end of
        the orders."""
        for line in sys.stdin:
            order: dict[str, Any] = json.loads(line)
            if "poll" in order:
                self._answer(self._exit_code(order["poll"]))
                continue
            program = Program(**order["run"])
            pid = os.fork()
            if pid == 0:
                self.answers.close()
                return program
            while os.getpgid(pid) != pid:
                time.sleep(0.001)
            self._answer(pid)
        return None

    def _answer(self, value: int | None) -> None:
        self.answers.write(f"{json.dumps(value)}\n")
        self.answers.flush()

    def _exit_code(self, pid: int) -> int | None:
        if pid not in self.ended:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found == 0:
                return None
            self.ended[pid] = os.waitstatus_to_exitcode(status)
        return self.ended[pid]


def run(program: Program) -> None:
    """In a process group of its own, as the main module."""
    opened = (
        os.open(program.stdin, os.O_RDONLY),
        os.open(program.stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        os.open(program.stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
    )
    for standard, descriptor in enumerate(opened):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.update(program.environ)
    sys.argv = [program.path, *program.arguments]
    os.setsid()
    code = compile(Path(program.path).read_text("utf-8"), program.path, "exec")
    exec(code, {"__name__": "__main__", "__file__": program.path})


def fork_the_engines_too() -> None:
    """On a CPU vLLM always spawns its engine's processes, and each would import everything anew."""
    check = CpuPlatform.check_and_update_config

    def check_and_fork(config: Any) -> None:
        check(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = staticmethod(check_and_fork)


def main() -> None:
    # Stdout is for answers alone. What vLLM prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    fork_the_engines_too()
    program = ForkServer(answers).serve()
    if program is not None:
        run(program)


if __name__ == "__main__":
    main()
