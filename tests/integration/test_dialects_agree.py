"""The reward server answers vLLM's bodies with the numbers of vLLM itself, on the same model."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer

from bon_gateway import demo_models
from tests.integration.conftest import Engines
from tests.integration.engines import MODEL
from tests.integration.test_scores_agree import GOOD, RUDE, TOLERANCE, conversations

pytestmark = pytest.mark.vllm

TEXTS = ("hello", GOOD, RUDE, f"{GOOD} {RUDE}", "Bär 熊 🐻", " ", "a\nb")
LONG = (GOOD + " ") * 40
"""More tokens than the model reads."""


def bodies() -> list[dict[str, Any]]:
    tokenizer = AutoTokenizer.from_pretrained(demo_models.reward_path())
    found = conversations()
    rendered = [tokenizer.apply_chat_template(c, tokenize=False) for c in found[:12]]
    ids = [tokenizer(text)["input_ids"] for text in TEXTS if text.strip()]
    return [
        *({"messages": conversation} for conversation in found[:24]),
        *({"input": text} for text in TEXTS),
        {"input": list(TEXTS)},
        {"input": rendered},
        {"input": rendered, "add_special_tokens": False},
        {"input": ids[0]},
        {"input": ids},
        {"input": [LONG, GOOD], "truncate_prompt_tokens": -1},
        {"input": LONG, "truncate_prompt_tokens": 20},
        {"input": LONG, "truncate_prompt_tokens": 20, "truncation_side": "left"},
    ]


def numbers(answer: dict[str, Any], key: str) -> list[float]:
    return [value for one in answer["data"] for value in one[key]]


@pytest.mark.parametrize("activation", [{}, {"use_activation": True}, {"use_activation": False}])
@pytest.mark.parametrize(("path", "key"), [("/classify", "probs"), ("/pooling", "data")])
def test_vllms_bodies_get_vllms_numbers(
    engines: Engines, path: str, key: str, activation: dict[str, bool]
) -> None:
    worst = 0.0
    for body in bodies():
        asked = {**body, **activation}
        vllm = engines.pooling.post(path, {**asked, "model": MODEL})
        ours = engines.reward_server.post(path, asked)
        expected, found = numbers(vllm, key), numbers(ours, key)
        assert found == pytest.approx(expected, abs=TOLERANCE), asked
        worst = max([worst, *(abs(a - b) for a, b in zip(expected, found, strict=True))])
        assert ours["usage"]["prompt_tokens"] == vllm["usage"]["prompt_tokens"], asked
        for own, theirs in zip(ours["data"], vllm["data"], strict=True):
            assert own.keys() <= theirs.keys()
            assert own["index"] == theirs["index"]
            assert own.get("label") == theirs.get("label")
    print(f"{path} {activation}: at most {worst:.1e} apart")


@pytest.mark.parametrize(
    "body",
    [
        {"input": LONG},
        {"input": [GOOD, LONG]},
        {"input": "a", "truncate_prompt_tokens": -2},
        {"input": [[10**6]]},
    ],
)
def test_both_refuse_what_no_model_can_read(engines: Engines, body: dict[str, Any]) -> None:
    for server in (engines.pooling, engines.reward_server):
        assert server.answer("/classify", body).status_code == 400
