"""Other projects' clients, unchanged, against a real model.

OpenRLHF and verl cannot be installed for this, so their requests are here as their sources make
them. Cohere's client is used if it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from transformers import AutoTokenizer

from bon_gateway import demo_models
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.backends.reward.vllm_classify import VllmClassifySettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import RewardRequest
from reward_server.http.app import create_app
from reward_server.settings import Settings
from tests.reward_server.conftest import running
from tests.reward_server.http.dialects.kit import sigmoid
from tests.waiting import until

ASK = [{"role": "user", "content": "name three toys for a bear"}]
ANSWERS = ("Gladly! Try kite, ball and drum. With love!", "Go away.", "kite")


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    """Served under the path of its folder, as vLLM does unless it is told a name: verl asks for
    that."""
    folder = str(demo_models.reward_path())
    app = create_app(Settings(model=folder, served_model_name=folder, device="cpu"))
    with running(app) as client:
        yield client


@pytest.fixture(scope="module")
def rewards(server: httpx.Client) -> list[float]:
    item = {"messages": ASK, "completions": list(ANSWERS)}
    found: list[float] = server.post("/v1/score", json={"items": [item]}).json()["results"][0][
        "rewards"
    ]
    assert max(found) - min(found) > 1
    return found


def rendered(answer: str, **more: Any) -> str:
    tokenizer = AutoTokenizer.from_pretrained(Path(demo_models.reward_path()))
    turns = [*ASK, {"role": "assistant", "content": answer}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, **more))


async def scores_of(backend: RewardBackend) -> list[float | None]:
    await backend.start()
    try:
        await until(backend.ready)
        messages = [{"role": "assistant", "content": answer} for answer in ANSWERS]
        return list((await backend.score(RewardRequest(ASK), messages)).rewards)
    finally:
        await backend.close()


async def test_this_projects_gateway(server: httpx.Client, rewards: list[float]) -> None:
    """Its backend for vLLM's pooling server gets what its backend for this server gets."""
    url = str(server.base_url).rstrip("/")
    vllm = VllmClassifySettings(type="vllm_classify", urls=[url]).build(None)
    own = RewardServerSettings(type="reward_server", urls=[url]).build(None)
    assert await scores_of(own) == pytest.approx(rewards, abs=1e-5)
    assert await scores_of(vllm) == pytest.approx(rewards, abs=1e-5)


def test_hugging_faces_client(server: httpx.Client) -> None:
    """Of text-embeddings-inference. It takes the first of the labels, as it does there."""
    raw = server.post("/predict", json={"inputs": ANSWERS[0], "raw_scores": True}).json()[0]
    with InferenceClient(model=f"{str(server.base_url).rstrip('/')}/predict") as client:
        found: Any = client.text_classification(ANSWERS[0])
    assert found.label == "LABEL_0"
    assert found.score == pytest.approx(sigmoid(raw["score"]), abs=1e-5)


def test_coheres_client(server: httpx.Client, rewards: list[float]) -> None:
    cohere = pytest.importorskip("cohere")
    model, query = str(demo_models.reward_path()), ASK[0]["content"]
    with httpx.Client() as connections:
        client = cohere.ClientV2(
            api_key="none",
            base_url=str(server.base_url).rstrip("/"),
            httpx_client=connections,
        )
        answer = client.rerank(model=model, query=query, documents=list(ANSWERS), top_n=2)
    best = sorted(range(len(ANSWERS)), key=lambda place: -rewards[place])[:2]
    assert [one.index for one in answer.results] == best
    expected = [sigmoid(rewards[place]) for place in best]
    assert [one.relevance_score for one in answer.results] == pytest.approx(expected, abs=1e-5)


def test_verls_reward_loop(server: httpx.Client, rewards: list[float]) -> None:
    """It renders with the reward model's template, takes a leading BOS away, and reads the last
    number of the last entry."""
    bos = AutoTokenizer.from_pretrained(Path(demo_models.reward_path())).bos_token
    for answer, reward in zip(ANSWERS, rewards, strict=True):
        payload = {
            "model": str(demo_models.reward_path()),
            "input": rendered(answer).removeprefix(bos or ""),
            "use_activation": False,
        }
        output = server.post("/classify", json=payload).json()
        assert output["data"][-1]["probs"][-1] == pytest.approx(reward, abs=1e-5)


def test_openrlhfs_executor(server: httpx.Client, rewards: list[float]) -> None:
    """It sends each query with its prompt and its label, and reads rewards, scores and logs."""
    prompt_of_all = AutoTokenizer.from_pretrained(
        Path(demo_models.reward_path())
    ).apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)
    payload = {
        "query": [rendered(answer) for answer in ANSWERS],
        "prompts": [prompt_of_all] * len(ANSWERS),
        "labels": ["", "", ""],
    }
    response = server.post("/get_reward", json=payload)
    response.raise_for_status()
    told = response.json()
    assert told["rewards"] == pytest.approx(rewards, abs=1e-5)
    assert told["scores"] == told["rewards"]
    assert told.get("extra_logs") or {} == {}
