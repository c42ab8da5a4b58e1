"""OpenRLHF's ``/get_reward``, on a fake model. The bodies are those of its 0.11 and 0.8 clients."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reward_server.testing import FakeForward
from tests.reward_server.http.app_kit import Serve, fake_app
from tests.reward_server.http.dialects.kit import client_of, error_of, post


def test_queries_alone(client: httpx.Client) -> None:
    answer = post(client, "/get_reward", query=["abc", "x"])
    assert answer == {"rewards": [3.0, 1.0], "scores": [3.0, 1.0], "extra_logs": {}}


def test_queries_of_one_prompt_are_computed_together(serve: Serve) -> None:
    forward = FakeForward()
    client = serve(fake_app(forward))
    answer = post(
        client,
        "/get_reward",
        query=["one: aaa", "two: bb", "one: c", "three"],
        prompts=["one: ", "two: ", "one: ", "other"],
        labels=["4", None, {"any": 1}, ""],
    )
    assert answer["rewards"] == [3.0, 2.0, 1.0, 5.0]
    prompts = [sequence.prompt_tokens for sequence in forward.batches[-1]]
    assert prompts == [5, 5, 5, 0]


def test_a_long_prompt_is_cut_if_the_server_does_so(serve: Serve) -> None:
    client = client_of(serve, on_overflow="truncate_prompt")
    body: dict[str, Any] = {"query": ["p" * 600 + "abc"], "prompts": ["p" * 600]}
    assert post(client, "/get_reward", **body)["rewards"] == [3.0]
    assert error_of(client, "/get_reward", query=["p" * 600])["param"] == "query[0]"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": []}, "query"),
        ({"query": "abc"}, "query"),
        ({"query": ["a", ""]}, "query[1]"),
        ({"query": ["a"], "prompts": []}, None),
        ({"query": ["a"], "prompts": ["a", "b"]}, "prompts"),
        ({"query": ["a", "x" * 600]}, "query[1]"),
        ({"query": ["a"], "images": []}, "images"),
    ],
)
def test_what_cannot_be_scored_is_named(
    client: httpx.Client, body: dict[str, Any], param: str | None
) -> None:
    if param is None:
        post(client, "/get_reward", **body)
    else:
        assert error_of(client, "/get_reward", **body)["param"] == param
