"""What the tests of the served app share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI

from reward_server.http.app import create_app
from reward_server.settings import Settings
from reward_server.settings_sources import KEYS_VARIABLE
from reward_server.testing import FakeForward, fake_scorer

Serve = Callable[[FastAPI], httpx.Client]


def body(*completions: Any, **more: Any) -> dict[str, Any]:
    item = {"messages": [{"role": "user", "content": "q"}], "completions": list(completions)}
    return {"items": [item], **more}


def fake_app(forward: FakeForward, *, keys: str | None = None, **settings: Any) -> FastAPI:
    return create_app(
        Settings(model="fake", **settings),
        environ={} if keys is None else {KEYS_VARIABLE: keys},
        load=partial(fake_scorer, forward=forward),
    )


def announcement(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}
