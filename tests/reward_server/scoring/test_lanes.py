from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from reward_server.scoring.lanes import LARGE, GivenUpError, Lanes, is_large


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    lanes = Lanes()
    yield lanes
    lanes.close()


class Held:
    """Work that takes until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.ended: BaseException | str | None = None

    def __call__(self, still_wanted: Callable[[], None]) -> str:
        self.begun.set()
        assert self.let_go.wait(30)
        try:
            still_wanted()
        except GivenUpError as error:
            self.ended = error
            raise
        self.ended = "done"
        return "done"


async def test_small_work_does_not_wait_for_large(lanes: Lanes) -> None:
    held = Held()
    large = asyncio.create_task(lanes.run(held, large=True))
    await asyncio.to_thread(held.begun.wait, 10)
    assert await asyncio.wait_for(lanes.run(lambda _: "small", large=False), 10) == "small"
    assert not large.done()
    held.let_go.set()
    assert await large == "done"


@pytest.mark.parametrize("large", [False, True])
async def test_what_waits_is_forgotten_when_it_is_given_up(lanes: Lanes, large: bool) -> None:
    class Text:
        pass

    held, text, ran = Held(), Text(), []
    first = asyncio.create_task(lanes.run(held, large=large))
    await asyncio.to_thread(held.begun.wait, 10)
    known = weakref.ref(text)

    def work(_: Any, text: Text = text) -> None:
        ran.append(text)

    waiting = asyncio.create_task(lanes.run(work, large=large))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    del text, work, waiting
    gc.collect()
    assert known() is None
    held.let_go.set()
    await first
    assert ran == []


async def test_what_has_begun_is_told_that_it_is_given_up(lanes: Lanes) -> None:
    held = Held()
    running = asyncio.create_task(lanes.run(held, large=False))
    await asyncio.to_thread(held.begun.wait, 10)
    running.cancel()
    await asyncio.wait([running])
    held.let_go.set()
    await lanes.run(lambda _: None, large=False)  # behind it
    assert isinstance(held.ended, GivenUpError)


async def test_errors_reach_the_caller(lanes: Lanes) -> None:
    def broken(_: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await lanes.run(broken, large=False)


class Endless(list[Any]):
    """Fails if all of it is looked at."""

    def __iter__(self) -> Any:
        raise AssertionError("it was looked through")


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ("a" * (LARGE // 2), False),
        ("a" * LARGE, True),
        ([{"role": "user", "content": "a" * LARGE}], True),
        ([{"role": "user", "content": [{"type": "text", "text": "a" * LARGE}]}], True),
        ([{"role": "user", "content": "q"}] * 200, False),
        ([{"role": "user", "content": "q"}] * 4000, True),
        ([[[[1.5, None, True]]]], False),
        (Endless([1] * 1_000_000), True),
        (None, False),
    ],
)
def test_what_is_large(value: Any, large: bool) -> None:
    assert is_large([], value) == large


def test_depth_is_no_obstacle() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert is_large(deep)
