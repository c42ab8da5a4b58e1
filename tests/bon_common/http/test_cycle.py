"""A head leaves with the body that follows at once, and alone where none does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bon_common.http.cycle import CycleTransport


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.packets.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.packets.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed


def made() -> tuple[Wire, CycleTransport]:
    wire = Wire()
    return wire, CycleTransport(wire, lambda: None, asyncio.get_running_loop())


async def test_a_body_takes_its_head_along() -> None:
    wire, transport = made()
    transport.begin()
    transport.write(b"head ")
    transport.write(b"body")
    transport.write(b"more")
    await asyncio.sleep(0)
    assert wire.packets == [b"head body", b"more"]


async def test_a_head_does_not_wait_for_a_late_body() -> None:
    wire, transport = made()
    transport.begin()
    transport.write(b"head")
    assert wire.packets == []
    await asyncio.sleep(0)
    assert wire.packets == [b"head"]
    transport.write(b"body")
    assert wire.packets == [b"head", b"body"]


async def test_two_answers_keep_their_order() -> None:
    wire, transport = made()
    for number in range(2):
        transport.begin()
        transport.write(b"head %d" % number)
    await asyncio.sleep(0)
    assert wire.packets == [b"head 0", b"head 1"]


async def test_nothing_is_written_to_a_closed_connection() -> None:
    wire, transport = made()
    transport.begin()
    transport.write(b"head")
    wire.closed = True
    await asyncio.sleep(0)
    assert wire.packets == []
