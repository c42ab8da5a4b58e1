"""What one client may take of a server before its request is understood, and how long.

Values only: ``http_protocol`` enforces them, and each server's settings say what they are.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits of one server's connections."""

    max_head_bytes: int = 64 * 1024
    """Request line and headers together; beyond it the answer is 431."""
    max_request_id_bytes: int = 8 * 1024
    """Of an ``x-request-id``; beyond it the answer is 431."""
    max_body_bytes: int = 16 * 1024 * 1024
    """Of a request's body; beyond it the answer is 413."""
    head_timeout_s: float = 10.0
    """From a request's first byte to the end of its headers; also from the connection to that
    first byte."""
    body_timeout_s: float = 30.0
    """Between two pieces of a body."""
    min_body_bytes_per_s: int = 1024
    """A whole body may take ``body_timeout_s`` and the time that its bytes need at this rate."""
    write_timeout_s: float = 60.0
    """How long a client may leave a full socket unread before the connection is aborted."""
    max_connections: int | None = None
    """Open at one time; beyond it the answer is 503. None derives it from the descriptor limit."""
