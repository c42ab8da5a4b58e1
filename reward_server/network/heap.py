"""Keeps the memory that one forward frees for the next one."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As in <malloc.h>; see mallopt(3)."""

KEPT_BYTES = 1 << 30
LARGEST_KEPT_BLOCK_BYTES = 32 << 20
"""The largest value that glibc accepts."""


def keep_freed_memory() -> bool:
    """Have the C library keep up to 1 GiB that this process frees; returns whether it will.

    glibc gives memory back when enough of it is free, and the next forward has it mapped again
    page by page, which can take a tenth of its time.
    Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(
        library.mallopt(option, value) == 1
        for option, value in (
            (M_TRIM_THRESHOLD, KEPT_BYTES),
            (M_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK_BYTES),
        )
    )
