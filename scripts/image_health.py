"""What an image's HEALTHCHECK runs: exit code 0 if the server of this container is alive.

    image_health.py VARIABLE PORT

Asks /livez on loopback, at the port that the environment variable names, else at PORT. An image
has no curl. Kubernetes does not use it; it has probes of its own. Standard library only.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0


def status(port: int) -> int:
    """Raises OSError or HTTPException if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status
    finally:
        connection.close()


def main(variable: str, port: str) -> int:
    try:
        answered = status(int(os.environ.get(variable, port)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0 if answered == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
