"""What one client may take of a server before its request is understood, and how long.

These are the limits that nobody sets; ``settings`` has the others. ``protocol`` enforces both.
"""

from __future__ import annotations

MAX_FIELDS = 256
"""Header fields of one request. Browsers and proxies send 10 to 40."""
MAX_REQUEST_ID_BYTES = 8 * 1024
LEAST_BYTES_PER_S = 8 * 1024
"""A body, or an answer that waits to be read, has its time limit plus the time that its bytes need
at this rate. Without this limit, one byte every half minute would hold a connection forever."""
HALF_CLOSE_S = 0.02
"""Seconds after a request within which a client that ends its side may only have ended what it
sends. One that does so later has left: TCP does not distinguish the two."""
HALF_CLOSE_GRACE_S = 1.0
"""Seconds for which such a client may still get its answer; then it counts as gone."""
LINGER_S = 30.0
LINGER_IDLE_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024
"""A refused client may still write: for ``LINGER_S``, with pauses up to ``LINGER_IDLE_S``, at most
``LINGER_BYTES``. Closing at once would reset the connection, and the reset would overtake the
answer."""
