"""A process reward model behind other servers' routes: it reads conversations, and its scores are
probabilities."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest

from bon_common.process_reward import StepReading
from reward_server.http.app import create_app
from reward_server.settings import Settings
from reward_server.testing import FakeForward, fake_scorer
from tests.reward_server.http.app_kit import Serve
from tests.reward_server.http.dialects.kit import error_of, post

SCORE = 0.537


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    forward = FakeForward(lambda _: (SCORE,))
    load = partial(fake_scorer, forward=forward, steps=StepReading(token="#"))
    return serve(create_app(Settings(model="fake"), load=load))


@pytest.mark.parametrize("raw", [True, False])
def test_a_probability_stays_as_it_is(client: httpx.Client, raw: bool) -> None:
    assert post(client, "/predict", inputs=["q", "a"], raw_scores=raw)[0]["score"] == SCORE
    assert post(client, "/rerank", query="q", texts=["a"], raw_scores=raw)[0]["score"] == SCORE
    assert post(client, "/score", text_1="q", text_2="a")["data"][0]["score"] == SCORE
    conversation = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    probs = post(client, "/classify", messages=conversation)["data"][0]["probs"]
    assert probs == [SCORE]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/classify", {"input": ["a", "b"]}, "input[0]"),
        ("/classify", {"input": "a"}, "input"),
        ("/pooling", {"input": ["a", "b"]}, "input[0]"),
        ("/predict", {"inputs": [["q", "a"], ["b"]]}, "inputs[1]"),
        ("/predict", {"inputs": "a"}, "inputs"),
        ("/get_reward", {"query": ["a", "b"]}, "query[0]"),
        ("/get_reward", {"query": ["pa"], "prompts": ["p"]}, "query[0]"),
    ],
)
def test_plain_texts_are_refused_by_their_own_name(
    client: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    assert error_of(client, path, **body)["param"] == param
