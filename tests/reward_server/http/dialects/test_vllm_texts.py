"""vLLM's ``/classify`` and ``/pooling``, on a fake model. Real models: test_clients.py."""

from __future__ import annotations

import base64
import struct
from typing import Any

import httpx
import pytest

from tests.reward_server.http.dialects.kit import error_of, post, sigmoid

NO_TEXT = {"role": "assistant", "content": 5}
CONVERSATION = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "four"}]


def test_a_conversation(client: httpx.Client) -> None:
    answer = post(client, "/classify", messages=CONVERSATION, use_activation=False)
    assert answer["id"].startswith("classify-")
    assert answer["object"] == "list"
    assert answer["created"] > 1_700_000_000
    assert answer["model"] == "fake"
    assert answer["data"] == [{"index": 0, "label": "LABEL_0", "probs": [4.0], "num_classes": 1}]
    tokens = len("<user:q><assistant:four>")
    assert answer["usage"] == {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "completion_tokens": 0,
    }


@pytest.mark.parametrize("activation", [{}, {"use_activation": True}, {"use_activation": None}])
def test_a_sigmoid_unless_it_is_asked_for_raw(
    client: httpx.Client, activation: dict[str, Any]
) -> None:
    answer = post(client, "/classify", messages=CONVERSATION, **activation)
    assert answer["data"][0]["probs"] == pytest.approx([sigmoid(4)])


@pytest.mark.parametrize(
    ("given", "rewards"),
    [
        ("abc", [3]),
        (["abc", "xy"], [3, 2]),
        ([97, 98], [2]),
        ([[97, 98], [97]], [2, 1]),
        (["abc", [97]], [3, 1]),
    ],
)
def test_texts_and_token_ids(client: httpx.Client, given: Any, rewards: list[float]) -> None:
    answer = post(client, "/classify", input=given, use_activation=False)
    assert [one["index"] for one in answer["data"]] == list(range(len(rewards)))
    assert [one["probs"] for one in answer["data"]] == [[reward] for reward in rewards]
    assert answer["usage"]["prompt_tokens"] == sum(rewards)


def test_a_text_ends_where_it_is_cut(client: httpx.Client) -> None:
    def tokens(**cut: Any) -> int:
        answer = post(client, "/classify", input="x" * 600, use_activation=False, **cut)
        return int(answer["usage"]["prompt_tokens"])

    assert tokens(truncate_prompt_tokens=-1) == 512
    assert tokens(truncate_prompt_tokens=10, truncation_side="left") == 10


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": "a", "messages": CONVERSATION}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [True]}, "input[0]"),
        ({"input": "x" * 600}, "input"),
        ({"input": ["a", "x" * 600]}, "input[1]"),
        ({"input": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"input": "a", "truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"input": "a", "chat_template_kwargs": {"tools": []}}, "chat_template_kwargs"),
        ({"messages": []}, "messages"),
        ({"messages": CONVERSATION[:1]}, "messages"),
        ({"messages": CONVERSATION[1:]}, "messages"),
        (
            {"messages": [CONVERSATION[0], {"role": "assistant", "content": 5}]},
            "messages[1].content",
        ),
        ({"messages": [{"role": "user", "content": 5}, CONVERSATION[1]]}, "messages[0].content"),
        (
            {"messages": [CONVERSATION[0], {"role": "assistant", "content": "x" * 600}]},
            "messages[1]",
        ),
        ({"messages": CONVERSATION, "chat_template": "x"}, "chat_template"),
        ({"messages": CONVERSATION, "add_generation_prompt": True}, "add_generation_prompt"),
        (
            {"messages": CONVERSATION, "chat_template_kwargs": {"enable_thinking": False}},
            "chat_template_kwargs.enable_thinking",
        ),
        ({"input": "a", "normalize": True}, "normalize"),
    ],
)
def test_what_cannot_be_done_is_named(
    client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    for path in ("/classify", "/pooling"):
        error = error_of(client, path, **body)
        assert error["param"] == param
        assert "items[" not in error["message"]


def test_fields_that_change_nothing_are_taken(client: httpx.Client) -> None:
    unread = {"user": "u", "priority": 3, "request_id": "r", "cache_salt": "s"}
    plain = post(client, "/classify", input="a")
    assert post(client, "/classify", input="a", **unread)["data"] == plain["data"]


def test_pooling(client: httpx.Client) -> None:
    answer = post(client, "/pooling", input=["abc", "xy"], use_activation=False)
    floats = post(client, "/pooling", messages=CONVERSATION, use_activation=False)
    assert floats["data"] == [{"index": 0, "object": "pooling", "data": [4.0]}]
    encoded = post(
        client, "/pooling", input=["abc", "xy"], use_activation=False, encoding_format="base64"
    )
    decoded = [struct.unpack("<f", base64.b64decode(one["data"])) for one in encoded["data"]]
    assert [list(values) for values in decoded] == [one["data"] for one in answer["data"]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "embed"),
        ("encoding_format", "bytes"),
        ("dimensions", 3),
        ("embed_dtype", "bfloat16"),
    ],
)
def test_no_other_pooling(client: httpx.Client, field: str, value: Any) -> None:
    assert error_of(client, "/pooling", input="a", **{field: value})["param"] == field
