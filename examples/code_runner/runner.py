"""A runner that tests the Python code in answers: the server of a verifier with `type: http`.

    python runner.py --port 8090

It runs code that a model wrote, so it needs a sandbox: README.md beside it starts it in a container
without network, privileges or disk. Inside that, each answer runs in a process of its own with
limits of CPU time, memory, file size and wall time, and its whole process group is ended. It needs
nothing but Python.

A request's `metadata.tests` is the code that checks the answer, such as
`assert add(1, 2) == 3`: the last code block of the answer runs first, then the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CPU_S = 5
WALL_S = 10
MEMORY_BYTES = 512 * 2**20
FILE_BYTES = 2**20
MOST_BODY_BYTES = 8 * 2**20
CODE_BLOCK = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)


def verdict(body: Any) -> dict[str, Any]:
    """The answer to one request of the gateway."""
    tests = (body.get("metadata") or {}).get("tests")
    if not isinstance(tests, str):
        return {"outcome": "abstain", "reason": "no_tests"}
    blocks = CODE_BLOCK.findall(str(body["answers"][0].get("content") or ""))
    if not blocks:
        return {"outcome": "fail", "reason": "no_code"}
    return run(blocks[-1], tests)


START = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S + 1}))
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({FILE_BYTES}, {FILE_BYTES}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def main():
    token = sys.stdin.readline()
    runpy.run_path("answer.py")
    print(token)
main()
"""
"""The program that runs an answer. It limits itself first."""


def run(code: str, tests: str) -> dict[str, Any]:
    # An answer that ends the process early, or prints anything it likes, must not count as one
    # whose tests ran. So the process prints a secret word at its end, a new one each time. Code
    # that looks for the word can find it.
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        program = f"{code}\n\n{tests}\n"
        Path(folder, "answer.py").write_text(program, encoding="utf-8", errors="replace")
        # A file, not a pipe: so the limit of file sizes bounds an answer's output.
        printed = Path(folder, "printed")
        with printed.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - running it is what this is for
                [sys.executable, "-I", "-c", START],
                cwd=folder,
                env={"PATH": os.defpath},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            process.communicate(f"{token}\n".encode(), timeout=WALL_S)
        except subprocess.TimeoutExpired:
            return {"outcome": "fail", "reason": "too_slow"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        last_words = printed.read_bytes().strip()
    if process.returncode == -signal.SIGXCPU:
        return {"outcome": "fail", "reason": "too_slow"}
    if process.returncode == 0 and last_words.endswith(token.encode()):
        return {"outcome": "pass", "score": 1.0}
    return {"outcome": "fail", "reason": "tests_failed", "score": 0.0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    slots = threading.BoundedSemaphore(max(1, len(os.sched_getaffinity(0))))
    """As many answers run at once as there are cores; the others wait."""

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > MOST_BODY_BYTES:
            self.close_connection = True
            self._send(413, {"error": "the body is too large"})
            return
        try:
            with self.slots:
                said = verdict(json.loads(self.rfile.read(size)))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            self._send(400, {"error": "not a request of the verifier"})
            return
        self._send(200, {"verdicts": [said]})

    def _send(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing: a line for each answer would fill the container's log."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Test the Python code in answers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    print(f"listening on {server.server_port}", flush=True)  # noqa: T201 - says its port
    server.serve_forever()


if __name__ == "__main__":
    main()
