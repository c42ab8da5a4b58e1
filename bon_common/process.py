"""What a serving process sets for itself: its descriptors and its garbage collector."""

from __future__ import annotations

import contextlib
import gc
import resource

ENOUGH = 65_536
"""Descriptors; more than any process here needs. With limits of a thousand million some libraries
spend long on a loop over them."""
OWN = 32
"""Descriptors that a process has open before any client comes: listener, event loop, logs."""
ALLOCATIONS = 20_000
"""Container objects made, less those freed, between two young collections."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit of files and sockets to the hard one. Many systems start processes with
    1,024 and allow far more; the low default guards programs that use ``select``, and these servers
    do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_allowed() -> int:
    """Half of the descriptors. The rest is for calls to upstreams and for their health checks,
    which must not fail because clients took all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ENOUGH
    return max(8, (soft - OWN) // 2)


def spare_the_collector() -> None:
    """Called once a server has started. What start-up made lives as long as the process, and almost
    all that a request makes dies with its last reference. At Python's default rate, looking for
    cycles in both costs a tenth of a request's CPU time, and where torch is loaded it stops all
    threads for 0.2 s at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)
