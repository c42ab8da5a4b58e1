"""Calls that stand or fall together."""

from __future__ import annotations

import asyncio

import pytest

from bon_common.together import together


async def after(event: asyncio.Event, value: int) -> int:
    await event.wait()
    return value


async def test_results_come_in_the_order_of_the_calls() -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def turned() -> int:
        second.set()
        first.set()
        return 3

    assert await together([after(first, 1), after(second, 2), turned()]) == [1, 2, 3]
    assert await together([]) == []


async def test_one_failure_is_raised_as_it_is_and_cancels_the_others() -> None:
    ended: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def failing() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await together([waiting(), failing(), waiting()])
    assert ended == ["cancelled", "cancelled"]


async def test_a_cancellation_reaches_the_calls() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waiting() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(together([waiting()]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
