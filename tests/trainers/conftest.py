"""What the tests of several commands share: a fake server, small files of preference data, and tiny
models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from bon_gateway.testing.script import Script
from bon_gateway.testing.upstream import FakeUpstream
from tests.trainers.scoring_service import Start, in_thread
from tests.trainers.tiny import write_tiny
from trainers.demo.tokenizer import build_tokenizer

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
def start_app() -> Iterator[Start]:
    """``start_app(app)`` serves what answers ``/v1/score`` until the tests end."""
    with in_thread() as start:
        yield start


@pytest.fixture(scope="session")
def world() -> Path:
    """24 lines each of `sft.jsonl`, `pairs.jsonl` and, with gold margins, `margins.jsonl`; 12 of
    `prompts.jsonl`. They are files, so that golden figures do not move with the demo world."""
    return Path(__file__).parent / "world"


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with `policy`, `reward` and `prompts.jsonl`."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root, tokenizer)
    return root
