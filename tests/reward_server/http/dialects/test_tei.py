"""text-embeddings-inference's ``/predict`` and ``/rerank``, on a fake model."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest

from reward_server.http.app import create_app
from reward_server.settings import Settings
from reward_server.testing import FakeForward, fake_scorer
from tests.reward_server.http.app_kit import Serve
from tests.reward_server.http.dialects.kit import error_of, post, sigmoid


def label(score: float) -> dict[str, Any]:
    return {"score": pytest.approx(score), "label": "LABEL_0"}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("abc", [label(3)]),
        (["abc"], [label(3)]),
        (["query", "bb"], [label(2)]),
        ([["abc"], ["query", "bb"], ["d"]], [[label(3)], [label(2)], [label(1)]]),
        ([["query", "bb"], ["query", "c"]], [[label(2)], [label(1)]]),
    ],
)
def test_texts_and_pairs(client: httpx.Client, inputs: Any, expected: Any) -> None:
    assert post(client, "/predict", inputs=inputs, raw_scores=True) == expected


def test_a_sigmoid_by_default(client: httpx.Client) -> None:
    assert post(client, "/predict", inputs="abc") == [label(sigmoid(3))]


def test_several_labels_come_best_first(serve: Serve) -> None:
    forward = FakeForward(lambda sequence: (1.0, float(len(sequence.ids)), 0.0))
    load = partial(fake_scorer, forward=forward, labels=("short", "long", "other"))
    client = serve(create_app(Settings(model="fake"), load=load))
    raw = post(client, "/predict", inputs="abc", raw_scores=True)
    assert [(one["label"], one["score"]) for one in raw] == [
        ("long", 3.0),
        ("short", 1.0),
        ("other", 0.0),
    ]
    shares = post(client, "/predict", inputs="abc")
    assert [one["label"] for one in shares] == ["long", "short", "other"]
    assert sum(one["score"] for one in shares) == pytest.approx(1)


@pytest.mark.parametrize("direction", ["Left", "Right", "left"])
def test_a_long_text_is_cut_if_asked(client: httpx.Client, direction: str) -> None:
    body = {"inputs": [["x" * 600], ["q" * 600, "bb"]], "truncate": True, "raw_scores": True}
    found = post(client, "/predict", **body, truncation_direction=direction)
    assert found == [[label(512)], [label(2)]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [["a"], ["a", "b", "c"]]}, "inputs[1]"),
        ({"inputs": [["a"], "b"]}, "inputs[1]"),
        ({"inputs": ["a", "b", "c"]}, "inputs[0]"),
        ({"inputs": 5}, "inputs"),
        ({"inputs": "x" * 600}, "inputs"),
        ({"inputs": [["a", "b"], ["x" * 600]]}, "inputs[1]"),
        ({"inputs": [["a"], ["b", "x" * 600]]}, "inputs[1]"),
        ({"inputs": "a", "parameters": {"top_k": 1}}, "parameters.top_k"),
    ],
)
def test_what_cannot_be_read_is_named(
    client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    assert error_of(client, "/predict", **body)["param"] == param


def test_texts_in_place_of_documents_are_ranked_as_tei_does(client: httpx.Client) -> None:
    texts = ["a", "ccc", "bb"]
    assert post(client, "/rerank", query="q", texts=texts, raw_scores=True) == [
        {"index": 1, "score": 3.0},
        {"index": 2, "score": 2.0},
        {"index": 0, "score": 1.0},
    ]
    best = post(client, "/rerank", query="q", texts=texts, return_text=True)[0]
    assert best == {"index": 1, "score": pytest.approx(sigmoid(3)), "text": "ccc"}
    assert error_of(client, "/rerank", query="q", texts=[])["param"] == "texts"
    assert error_of(client, "/rerank", query="q", texts=["x" * 600])["param"] == "texts[0]"
    cut = post(client, "/rerank", query="x" * 600, texts=texts, truncate=True)
    assert [one["index"] for one in cut] == [1, 2, 0]
