"""Asks a server something small all the time and tells the longest wait; from a process of its own,
so that what blocks a server blocks nobody who measures it.

A wait is told in the CPU time that the server's process spent meanwhile. What holds it up by work
of its own shows in full, and what other programs do on the machine does not. Neither does the time
for which the asking process itself waits for a core: the answer may long be there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PROBE = """
import http.client, psutil, sys, threading
address, server, path, body = sys.argv[1:]
method, head = ("POST", {"content-type": "application/json"}) if body else ("GET", {})
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
worst = 0.0
server = psutil.Process(int(server))
def spent():
    times = server.cpu_times()
    return times.user + times.system
def kept_waiting():
    try:
        with open("/proc/self/schedstat") as told:
            return int(told.read().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
connection = http.client.HTTPConnection(address, timeout=60)
first = True
while first or not done.wait(0.005):
    begun, late = spent(), kept_waiting()
    connection.request(method, path, body or None, head)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    if first:
        first = False
        print("it begins", flush=True)
    else:
        worst = max(worst, spent() - begun - (kept_waiting() - late))
print(worst)
"""


@contextmanager
def probing(
    address: str, server: int, path: str = "/livez", body: str = ""
) -> Iterator[Callable[[], float]]:
    """Asks over one connection, with GET or, where there is a `body`, with POST. What it gives ends
    that and tells the longest wait in seconds of the process ``server``'s CPU time."""
    probe = subprocess.Popen(
        [sys.executable, "-c", PROBE, address, str(server), path, body],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert probe.stdout is not None

    def worst() -> float:
        output, _ = probe.communicate(timeout=60)
        assert probe.returncode == 0
        return float(output.split()[-1])

    try:
        probe.stdout.readline()
        yield worst
    finally:
        probe.kill()
        probe.communicate()
