"""Work that ends when its client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from bon_common.http.protocol import ON_LEAVING

T = TypeVar("T")
Scope = MutableMapping[str, Any]
"""As ASGI has it; a framework's own is the same."""
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientLeft(Exception):
    """The client closed the connection before its answer was complete."""


async def until_disconnect(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled if the client leaves first.

    The request's body must have been read. Raises ClientLeft. ``work`` has ended when this
    returns or raises.
    """
    task = asyncio.current_task()
    assert task is not None, "only a task can be cancelled"
    cancelled_before = task.cancelling()
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        task.cancel()

    end_watch = _watch(scope, receive, leave)
    try:
        return await work
    except asyncio.CancelledError:
        # A cancellation from anywhere else goes through.
        if left and task.uncancel() <= cancelled_before:
            raise ClientLeft from None
        raise
    finally:
        end_watch()


def _watch(scope: Scope, receive: Receive, leave: Callable[[], None]) -> Callable[[], object]:
    """Call ``leave`` when the client leaves. Returns a function that ends the watch."""
    call_on_leaving = scope.get(ON_LEAVING)
    if call_on_leaving is not None:
        take_back: Callable[[], None] = call_on_leaving(leave)
        return take_back
    # Another ASGI server than our own.
    return asyncio.create_task(_ask(receive, leave)).cancel


async def _ask(receive: Receive, leave: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leave()
