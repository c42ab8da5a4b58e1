"""Python's garbage collector in a server that has started."""

from __future__ import annotations

import gc

ALLOCATIONS = 20_000
"""Container objects made, less those freed, between two young collections."""


def spare_the_collector() -> None:
    """What start-up made lives as long as the process, and almost all that a request makes dies
    with its last reference. Looking through both for cycles at Python's default rate costs a
    tenth of a request's CPU time, and where torch is loaded stops all threads for .2 s at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)
