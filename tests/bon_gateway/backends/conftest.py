from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bon_gateway.testing.upstream import FakeUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """A fake upstream; when the test is over no task and no connection may be left."""
    async with FakeUpstream() as fake:
        before = asyncio.all_tasks()
        yield fake
        left = asyncio.all_tasks() - before
        left.discard(asyncio.current_task())
        if left:
            await asyncio.wait(left, timeout=1)
        assert not [task for task in left if not task.done()], "a task was left running"
        async with asyncio.timeout(5):
            while fake.connections:
                await asyncio.sleep(0.005)
