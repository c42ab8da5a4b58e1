"""What the tests of several commands share: a fake server, and small files of the demo world."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bon_gateway.testing.script import Script
from bon_gateway.testing.upstream import FakeUpstream
from trainers.data import write_records
from trainers.demo.data import make_world
from trainers.settings import WorldSettings

Serve = Callable[..., FakeUpstream]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(script, api_key=...)`` gives a running FakeUpstream, in a thread of its own."""
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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 lines each of `sft.jsonl`, `pairs.jsonl` and, with gold margins, `margins.jsonl`; 12 of
    `prompts.jsonl`."""
    made = make_world(
        WorldSettings(
            train_prompts=30, held_out_prompts=12, sft_records=24, pairs=24, held_out_pairs=24
        )
    )
    folder = tmp_path_factory.mktemp("world")
    write_records(folder / "sft.jsonl", made.sft)
    write_records(folder / "pairs.jsonl", made.pairs)
    write_records(folder / "margins.jsonl", made.held_out_pairs)
    write_records(folder / "prompts.jsonl", made.held_out_prompts)
    return folder
