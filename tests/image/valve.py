"""Stands for a generator's Service: leads to the pod behind it, and can hold up what it answers.

Behind it runs a gateway on the embedded demo policy, which speaks vLLM's protocol but for its
health check; that one is translated.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

ANSWER_TIMEOUT_S = 120.0


class Valve:
    """Listens on loopback while it is entered. While it is shut, answers to POST wait in it."""

    def __init__(self, port: int, target_port: int) -> None:
        self.waiting = 0
        """Answers that wait now."""
        self._open = threading.Event()
        self._open.set()
        valve = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = "/readyz" if self.path == "/health" else self.path
                valve._forward(self, path, None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                valve._forward(self, self.path, body)

            def log_message(self, *args: object) -> None:
                """A test's output is no place for an access log."""

        self._target = f"http://127.0.0.1:{target_port}"
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._lock = threading.Lock()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def _forward(self, handler: BaseHTTPRequestHandler, path: str, body: bytes | None) -> None:
        request = urllib.request.Request(
            self._target + path, body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except OSError:
            # Nobody is behind it: the caller is cut off, and sees what it would see of a dead pod.
            handler.close_connection = True
            return
        if body is not None:
            self._hold()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _hold(self) -> None:
        with self._lock:
            self.waiting += 1
        self._open.wait(ANSWER_TIMEOUT_S)
        with self._lock:
            self.waiting -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
