"""How many files and sockets this process may open, and how many of them clients may have."""

from __future__ import annotations

import contextlib
import resource

ENOUGH = 65_536
"""More than any process here needs; limits of a thousand million cost some libraries a loop."""
OWN = 32
"""Listener, event loop, logs, metrics: what a process has open before any client comes."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one. Many systems start processes with 1,024 and allow
    far more; the low default guards programs that use ``select``, and these servers do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_allowed() -> int:
    """Half of the descriptors: the rest is for calls to upstreams and for their health checks,
    which must not fail because clients took all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ENOUGH
    return max(8, (soft - OWN) // 2)
