"""How long ``/livez`` of a gateway takes, asked again and again by a separate process: the process
that makes the load would measure itself.

    python benchmarks/livez.py http://127.0.0.1:8080    # until SIGTERM; prints the figures
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

EVERY_S = 0.02


@dataclass
class Livez:
    p99_ms: float = field(init=False, default=0.0)
    most_ms: float = field(init=False, default=0.0)


@contextlib.contextmanager
def watched_livez(url: str) -> Iterator[Livez]:
    """The figures are ready when the context has ended."""
    found = Livez()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__)), url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        try:
            yield found
        finally:
            process.terminate()
            said = process.stdout.read()
    found.p99_ms, found.most_ms = json.loads(said)


def watch(url: str) -> None:
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    took: list[float] = []
    while not (stopped and took):
        started = time.perf_counter()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        took.append(1000 * (time.perf_counter() - started))
        if len(took) == 1:
            print("begun", flush=True)
        time.sleep(EVERY_S)
    took.sort()
    print(json.dumps([took[int(0.99 * len(took))], took[-1]]))


if __name__ == "__main__":
    watch(sys.argv[1])
