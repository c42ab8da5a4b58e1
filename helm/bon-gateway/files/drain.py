"""What a pod does before it is told to stop: `drain.py METRICS_URL DELAY LONGEST METRIC...`.

For DELAY seconds it takes requests as before, since some caller may still hold its address. Then it
waits until the sum of the metrics is 0, for LONGEST seconds at the most. A server that does not
answer has nothing to wait for.
"""

import sys
import time
import urllib.request


def in_flight(url: str, names: list[str]) -> float:
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    samples = [(line.partition("{")[0].partition(" ")[0], line) for line in lines]
    return sum(float(line.split()[-1]) for name, line in samples if name in names)


def main(url: str, delay: float, longest: float, names: list[str]) -> None:
    time.sleep(delay)
    until = time.monotonic() + longest
    while time.monotonic() < until:
        try:
            if in_flight(url, names) == 0:
                return
        except OSError:
            return
        time.sleep(1)


main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
