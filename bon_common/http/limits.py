"""What one client may take of a server before its request is understood, and how long.

Values only: ``protocol`` enforces them, and each server's settings say what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_FIELDS = 256
"""Header fields of one request. Browsers and proxies send 10 to 40."""
MAX_REQUEST_ID_BYTES = 8 * 1024
LEAST_BYTES_PER_S = 8 * 1024
"""A body, or an answer that waits to be read, has its time limit and the time that its bytes need
at this rate. Without it one byte each half minute would hold a connection for ever."""
HALF_CLOSE_S = 0.02
"""A client that ends its side so soon after its request may have ended only what it says. One that
does so later has left: nothing in TCP tells the two apart."""
HALF_CLOSE_GRACE_S = 1.0
"""For so long such a client is still answered; then it counts as gone."""
LINGER_S = 30.0
LINGER_IDLE_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024
"""A refused client may still write for so long, with pauses of at most so long, and so much:
closing at once would reset the connection, and the reset would overtake the answer."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits of one server's connections that an operator may set."""

    max_head_bytes: int = 64 * 1024
    """Request line and headers together; beyond it the answer is 431."""
    head_timeout_s: float = 10.0
    """From a request's first byte to the end of its headers, and from a connection's beginning to
    its first byte; beyond it the answer is 408, or none if nothing was sent."""
    idle_timeout_s: float = 75.0
    """Between two requests of one connection."""
    body_timeout_s: float = 30.0
    """Without a byte of the body; beyond it the answer is 408."""
    write_timeout_s: float = 60.0
    """How long a client may leave its answer unread before the connection is aborted."""
    max_connections: int | None = None
    """Open at one time in one process; beyond it idle ones are closed, and if none is idle the
    answer is 503. None derives it from the limit of descriptors."""
