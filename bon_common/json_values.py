"""Counts the values of a JSON text before it is parsed.

A few megabytes of ``[],[],[]`` become millions of objects, and while they are made no other thread
runs. The count is that of commas and opening brackets outside of strings, slice by slice, so that a
server can do other work between two slices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

SLICE = 64 * 1024
"""Bytes counted at once, which takes a millisecond or two at worst."""


def most_values(data: bytes) -> int:
    """An upper bound of the number of values: it counts marks within strings too."""
    return 1 + data.count(b"[") + data.count(b"{") + data.count(b",")


async def exceeds(data: bytes, max_values: int) -> bool:
    """Whether ``data`` holds more values than ``max_values``. The event loop does other work in
    between."""
    if most_values(data) <= max_values:
        return False
    # Marks may stand in strings too. Only a client that sends very many waits for the exact count.
    for values in running_count(data):
        if values > max_values:
            return True
        await asyncio.sleep(0)
    return False


def running_count(data: bytes) -> Iterator[int]:
    """The number of values up to the end of each slice; the last one is that of all."""
    values, in_text, start = 1, False, 0
    while start < len(data):
        part, start = next_slice(data, start, SLICE)
        outside, in_text = outside_texts(part, in_text)
        values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        yield values


def next_slice(data: bytes, start: int, size: int) -> tuple[bytes, int]:
    """``size`` bytes of ``data``, and where the next ones start."""
    end = start + size
    part = data[start:end]
    if (len(part) - len(part.rstrip(b"\\"))) % 2 == 1:
        # The last backslash begins an escape sequence, which must not be split.
        end += 1
        part = data[start:end]
    return part, end


def outside_texts(part: bytes, in_text: bool) -> tuple[bytes, bool]:
    """The bytes of ``part`` outside of JSON's strings, and whether it ends inside one.

    After a mistake in the JSON this may be wrong, but the parser stops there too.
    """
    pieces = part.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    ends_in_text = in_text == (len(pieces) % 2 == 1)
    return b" ".join(pieces[1 if in_text else 0 :: 2]), ends_in_text
