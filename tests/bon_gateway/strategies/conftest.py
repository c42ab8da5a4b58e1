from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bon_gateway.strategies.referee import Referee
from bon_gateway.types import ChatRequest


@pytest.fixture
def ask() -> Callable[..., ChatRequest]:
    def make(*, top: int = 1, seed: int | None = None, **sampling: Any) -> ChatRequest:
        return ChatRequest([{"role": "user", "content": "?"}], sampling, seed, top, "request")

    return make


@pytest.fixture
async def referee() -> AsyncIterator[Referee]:
    referee = Referee()
    yield referee
    await referee.close()
