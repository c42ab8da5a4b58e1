"""What one client may take of a server before its request is understood, and how long.

These are the limits that nobody sets; ``settings`` has the others. ``protocol`` enforces both.
"""

from __future__ import annotations

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
