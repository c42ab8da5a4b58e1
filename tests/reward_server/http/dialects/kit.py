"""A served fake model: a token is a character, and a reward is the length of what is scored."""

from __future__ import annotations

import math
from typing import Any

import httpx

from reward_server.testing import FakeForward
from tests.reward_server.http.app_kit import Serve, fake_app


def client_of(serve: Serve, **settings: Any) -> httpx.Client:
    return serve(fake_app(FakeForward(), **settings))


def sigmoid(reward: float) -> float:
    return 1 / (1 + math.exp(-reward))


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(client: httpx.Client, path: str, status: int = 400, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error
