"""What an operator may set of any server's HTTP: where it listens, and the limits of a connection.

Each server's settings inherit these fields; ``protocol`` enforces the limits.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_S = 31_536_000.0
"""A year: timers of the event loop do not take every float."""
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]


class HttpServerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    host: Annotated[str, Field(min_length=1)] | None = None
    """Address to listen on. None is loopback while no API key is set, else all addresses."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes a free one and prints it."""
    max_head_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    """Largest request line and headers together; beyond it the answer is 431."""
    head_timeout_s: Seconds = 10.0
    """Longest that a request's line and headers may take to arrive, and a new connection to send
    its first byte."""
    body_timeout_s: Seconds = 30.0
    """Longest pause in a request's body. A whole body may take this and a second for each 8 KiB."""
    write_timeout_s: Seconds = 60.0
    """Longest that a client may leave its answer unread. Then the connection is cut, and what is
    still being computed for it is stopped."""
    max_connections: Annotated[int, Field(ge=1)] | None = None
    """Connections of clients that one process keeps open; beyond it idle ones are closed, then new
    ones get 503. None is half of the process's limit of open files."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are left out."""

    idle_timeout_s: ClassVar[float] = 75.0
    """Longest pause between two requests of one connection."""
