"""A fake server in a thread of its own, so that commands can be run as users run them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from bon_gateway.testing.script import Script
from bon_gateway.testing.upstream import FakeUpstream

Serve = Callable[..., FakeUpstream]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(script, api_key=...)`` gives a running FakeUpstream."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started: list[FakeUpstream] = []

    def start(script: Script | None = None, **options: str) -> FakeUpstream:
        upstream = FakeUpstream(script, **options)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(10)
        started.append(upstream)
        return upstream

    yield start
    for upstream in started:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
