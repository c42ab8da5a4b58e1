"""vLLM's ``/score`` and ``/rerank``, on a fake model."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.reward_server.http.dialects.kit import error_of, post, sigmoid

SIDES = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)


@pytest.mark.parametrize(("left", "right"), SIDES)
@pytest.mark.parametrize("queries", ["q", ["q"], ["q", "r", "s"]])
def test_one_and_several(client: httpx.Client, left: str, right: str, queries: Any) -> None:
    body = {left: queries, right: ["a", "bb", "ccc"]}
    answer = post(client, "/score", use_activation=False, **body)
    assert answer["data"] == [
        {"index": place, "object": "score", "score": place + 1.0} for place in range(3)
    ]
    assert answer["usage"]["prompt_tokens"] == 3 * len("<user:q><assistant:>") + 6


def test_a_sigmoid_by_default(client: httpx.Client) -> None:
    (score,) = post(client, "/score", text_1="q", text_2="bb")["data"]
    assert score["score"] == pytest.approx(sigmoid(2))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text_1": "q"}, "text_1"),
        ({"text_1": "q", "documents": "a"}, "text_1"),
        ({"text_1": "q", "text_2": "a", "data_1": "b"}, "text_1"),
        ({"text_1": ["q", "r"], "text_2": ["a"]}, "text_2"),
        ({"text_1": "q", "text_2": []}, "text_2"),
        ({"text_1": "q", "text_2": ["a", "x" * 600]}, "text_2[1]"),
        ({"queries": ["q", "x" * 600], "items": ["a", "b"]}, "queries[1]"),
        ({"text_1": "q", "text_2": "a", "max_tokens_per_doc": 5}, "max_tokens_per_doc"),
        ({"text_1": "q", "text_2": "a", "instruction": "x"}, "instruction"),
        ({"text_1": "q", "text_2": "a", "truncate_prompt_tokens": -1}, "truncate_prompt_tokens"),
    ],
)
def test_what_cannot_be_scored_is_named(
    client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    assert error_of(client, "/score", **body)["param"] == param


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_the_best_documents_come_first(client: httpx.Client, path: str) -> None:
    documents = ["a", {"text": "ccc"}, "bb", "ddd"]
    answer = post(client, path, query="q", documents=documents, use_activation=False)
    assert [one["index"] for one in answer["results"]] == [1, 3, 2, 0]
    assert answer["results"][0] == {
        "index": 1,
        "relevance_score": 3.0,
        "document": {"text": "ccc"},
    }
    short = post(client, path, query="q", documents=documents, top_n=1, return_documents=False)
    assert short["results"] == [{"index": 1, "relevance_score": pytest.approx(sigmoid(3))}]
    assert short["usage"]["total_tokens"] == answer["usage"]["total_tokens"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": "q"}, "documents"),
        ({"documents": ["a"]}, "query"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": ["a", {"text": "b", "title": "c"}]}, "documents[1].title"),
        ({"query": "q", "documents": ["a", "x" * 600]}, "documents[1]"),
        ({"query": "x" * 600, "documents": ["a"]}, "query"),
        ({"query": "q", "documents": ["a"], "top_n": -1}, "top_n"),
        ({"query": "q", "documents": ["a"], "rank_fields": ["x"]}, "rank_fields"),
    ],
)
def test_what_cannot_be_ranked_is_named(
    client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    error = error_of(client, "/v1/rerank", **body)
    assert error["param"].replace("[...]", "[1]") == param
