"""Announced prompts, and several models in one server."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from reward_server.http.app import create_app
from reward_server.metrics import ModelMetrics
from reward_server.model_settings import ModelSettings
from reward_server.scoring.scorer import Scorer
from reward_server.settings import Settings
from reward_server.testing import FakeForward, answer_of, fake_scorer
from tests.reward_server.conftest import sample
from tests.reward_server.http.app_kit import Serve, announcement, body, fake_app


def test_a_prompt_is_announced(serve: Serve) -> None:
    forward = FakeForward(shares_prompts=True)
    client = serve(fake_app(forward))
    answer = client.post("/v1/prefix", json=announcement("a long one"))
    assert answer.status_code == 200
    assert answer.json() == {"model": "fake", "tokens": 28, "kept": True}
    computed = sample(client, "reward_server_tokens_total")
    item = {**announcement("a long one"), "completions": ["ab", "c"]}
    assert client.post("/v1/score", json={"items": [item]}).status_code == 200
    assert sample(client, "reward_server_tokens_total") - computed == len("ab>") + len("c>")
    asked = sample(client, "reward_server_tokens_asked_total")
    assert asked >= 2 * 28


def test_an_announcement_that_gains_nothing_says_so(serve: Serve) -> None:
    client = serve(fake_app(FakeForward()))
    assert client.post("/v1/prefix", json=announcement("q")).json()["kept"] is False
    shared = serve(fake_app(FakeForward(shares_prompts=True), max_tokens=40))
    assert shared.post("/v1/prefix", json=announcement("x" * 50)).json()["kept"] is False


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        (announcement("q", model="other"), 404, "model"),
        (announcement("q", completions=["a"]), 400, "completions"),
    ],
)
def test_bad_announcements_are_refused(
    serve: Serve, body: dict[str, Any], status: int, param: str
) -> None:
    client = serve(fake_app(FakeForward(shares_prompts=True)))
    answer = client.post("/v1/prefix", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def several_app() -> FastAPI:
    """Two fake models and their ensemble. One model scores lengths, the other first letters."""
    by_name = {
        "long": FakeForward(),
        "early": FakeForward(lambda s: float(ord((answer_of(s) + "k")[0]))),
    }

    def load(settings: ModelSettings, metrics: ModelMetrics) -> Scorer:
        return fake_scorer(
            settings,
            metrics,
            forward=by_name[settings.model_name],
            normalisation={"mean": 0.0, "std": 2.0},
        )

    models = {
        "long": {"model": "folder/x"},
        "early": {"model": "folder/y", "max_tokens": 300},
        "both": {"type": "ensemble", "members": ["long", "early"], "combine": "min"},
    }
    return create_app(Settings.model_validate({"models": models}), load=load)


def test_several_models_are_named_and_addressed(serve: Serve) -> None:
    client = serve(several_app())
    answers = {
        name: client.post("/v1/score", json=body("abc", "b", model=name)).json()
        for name in ("long", "early", "both")
    }
    assert [a["model"] for a in answers.values()] == ["long", "early", "both"]
    found = {name: answer["results"][0]["rewards"] for name, answer in answers.items()}
    assert found == {"long": [3.0, 1.0], "early": [97.0, 98.0], "both": [1.5, 0.5]}
    assert answers["both"]["results"][0]["labels"] == {"long": [1.5, 0.5], "early": [48.5, 49.0]}
    assert "labels" not in answers["long"]["results"][0]
    pages = {page["id"]: page for page in client.get("/v1/models").json()["data"]}
    assert list(pages) == ["long", "early", "both"]
    assert pages["early"]["max_tokens"] == pages["both"]["max_tokens"] == 300
    assert pages["long"]["normalisation"] == {"mean": 0.0, "std": 2.0}
    assert pages["both"]["members"] == ["long", "early"]
    assert sample(client, 'reward_server_sequences_total{model="long"}') == 2 + 4


def test_with_several_models_a_request_says_which(serve: Serve) -> None:
    client = serve(several_app())
    for path, asked in (("score", body("a")), ("prefix", announcement("q"))):
        answer = client.post(f"/v1/{path}", json=asked)
        assert answer.status_code == 400
        assert "'long', 'early', 'both'" in answer.json()["error"]["message"]
    assert client.post("/v1/score", json=body("a", model="x")).status_code == 404
