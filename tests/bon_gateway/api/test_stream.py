"""What goes beside an answer's chunks: comment lines, and what the log learns."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bon_gateway.errors import PolicyFailedError
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from tests.bon_gateway.api.conftest import Serve

SLOW = dict.fromkeys(range(4), Act((completion("answer 9"),), delay=0.3))


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.fields: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.fields.append(record.fields)  # type: ignore[attr-defined]


@pytest.fixture
def log() -> Iterator[Lines]:
    """The access log."""
    handler, logger = Lines(), logging.getLogger("bon_gateway.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("model", ["best", "one"])
async def test_comment_lines_can_be_switched_off(serve: Serve, model: str) -> None:
    with_them = await serve(policy=FakePolicy(SLOW), settings={"server": {"keepalive_s": 0.05}})
    assert ":" in [line[:1] for line in (await with_them.chat(stream=True)).text.splitlines()]
    without = await serve(policy=FakePolicy(SLOW), settings={"server": {"keepalive_s": None}})
    text = (await without.chat(model=model, stream=True)).text
    assert text.endswith("data: [DONE]\n\n")
    assert {line[:5] for line in text.splitlines() if line} == {"data:"}


async def test_without_comment_lines_an_error_keeps_its_status(serve: Serve) -> None:
    late = dict.fromkeys(range(4), Act((PolicyFailedError("broken"),), delay=0.2))
    served = await serve(policy=FakePolicy(late), settings={"server": {"keepalive_s": None}})
    assert (await served.chat(stream=True)).status_code == 502


@pytest.mark.parametrize("model", ["best", "one"])
async def test_the_log_tells_when_a_stream_began(serve: Serve, log: Lines, model: str) -> None:
    served = await serve(policy=FakePolicy(SLOW))
    await served.chat(model=model, stream=True)
    await served.chat(model=model)
    streamed, whole = log.fields
    assert 250 <= streamed["first_token_ms"] <= streamed["duration_ms"]
    assert whole["first_token_ms"] is None
    assert streamed["prompt_tokens"] == whole["prompt_tokens"] == 5


async def test_a_stream_that_failed_had_no_first_token(serve: Serve, log: Lines) -> None:
    broken = dict.fromkeys(range(4), Act((PolicyFailedError("broken"),)))
    served = await serve(policy=FakePolicy(broken))
    await served.chat(stream=True)
    assert log.fields[0]["first_token_ms"] is None
    assert log.fields[0]["error"] == "upstream_error"
