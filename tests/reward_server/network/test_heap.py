"""Freed memory stays with the process, so that using it again maps no pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BLOCK = 31 << 20
PROGRAM = f"""
import ctypes, sys
from reward_server.network.heap import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

if sys.argv[1] == "keep":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.mallinfo2.restype = Info
block = library.malloc(ctypes.c_size_t({BLOCK}))
library.free(ctypes.c_void_p(block))
print(library.mallinfo2().fordblks)
"""


def free_bytes(mode: str) -> int:
    """What the allocator has at hand when a block was freed."""
    command = [sys.executable, "-c", PROGRAM, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_freed_block_is_there_for_the_next() -> None:
    assert free_bytes("as it is") < BLOCK / 2
    assert free_bytes("keep") >= BLOCK
