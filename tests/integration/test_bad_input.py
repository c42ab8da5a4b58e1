"""What a client may get wrong is a 4xx that says what, whether the gateway or vLLM finds it, and
the engine lives on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import FAN_OUTS, REWARDS, Engines
from tests.integration.gateway import Gateway
from tests.integration.prompts import ask

pytestmark = pytest.mark.vllm

SCHEMA_WITH_A_BAD_PATTERN = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "string", "pattern": "("}},
}
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
TOOL = {"type": "function", "function": {"name": "pick", "parameters": {"type": "object"}}}
BAD: list[tuple[dict[str, Any], str]] = [
    # Found by the gateway.
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages"),
    ({"n": 10**9}, "n"),
    ({"n": -1}, "n"),
    ({"bon": {"n": 10**6}}, "bon.n"),
    ({"temperature": -0.5}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"logprobs": True, "top_logprobs": 10_000}, "top_logprobs"),
    ({"prompt_logprobs": 10_000}, "prompt_logprobs"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}},
     "schema"),
    # Found by vLLM.
    ({"messages": ask("x " * 2000)}, "input_tokens"),
    ({"max_tokens": 100_000}, "max_tokens"),
    ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ({"top_k": -5}, "top_k"),
    ({"min_p": 7}, "min_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"presence_penalty": 9}, "presence_penalty"),
    ({"min_tokens": 50, "max_tokens": 5}, "min_tokens"),
    ({"logit_bias": {"99999": 1}}, "logit_bias"),
    ({"allowed_token_ids": [99999]}, "allowed_token_ids"),
    ({"stop_token_ids": ["a"]}, "stop_token_ids"),
    ({"stop": ["a"] * 100}, "stop"),
    ({"bad_words": [""]}, "bad_words"),
    ({"truncate_prompt_tokens": -5}, "truncate_prompt_tokens"),
    ({"vllm_xargs": 5}, "vllm_xargs"),
    ({"stream_interval": 0}, "stream_interval"),
    ({"chat_template": "{{"}, "hat template"),
    ({"structured_outputs": {"regex": "("}}, "regex"),
    ({"structured_outputs": {"choice": []}}, "hoice"),
    ({"structured_outputs": {"grammar": "root ::= ("}}, "grammar"),
    ({"structured_outputs": {"json": '{"type": "string", "pattern": "("}'}}, "regex"),
    ({"response_format": SCHEMA_WITH_A_BAD_PATTERN}, "regex"),
    ({"tool_choice": "required"}, "tool"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool"),
]  # fmt: skip


@pytest.mark.parametrize("model", [f"reward_server-{fan_out}" for fan_out in FAN_OUTS] + ["one"])
async def test_it_is_refused_and_named(gateway: Gateway, engines: Engines, model: str) -> None:
    wrong = []
    for index, (body, named) in enumerate(BAD):
        if model == "one" and "bon" in body:
            continue
        whole = {"model": model, "messages": ask(), "stream": index % 2 == 1, **body}
        answer = await gateway.chat(**whole)
        error = answer.json().get("error", {}) if answer.status_code != 200 else {}
        as_it_should = (
            answer.status_code == 400
            and named in f"{error['message']} {error.get('param')}"
            and error["type"] == "invalid_request_error"
            and isinstance(error["code"], str)
        )
        if not as_it_should:
            wrong.append((str(body)[:90], answer.status_code, answer.text[:300]))
    assert wrong == []
    assert (await gateway.chat(model=model, messages=ask())).status_code == 200
    assert engines.generator.running == 0
    assert gateway.ready


@pytest.mark.parametrize(
    ("model", "named"),
    [
        *((f"{reward}-together", "messages[0].content[0]") for reward in REWARDS),
        # Nothing is scored, and so this is vLLM's to say.
        ("one", "multimodal"),
    ],
)
async def test_an_image_is_refused_by_whom_it_concerns(
    gateway: Gateway, engines: Engines, model: str, named: str
) -> None:
    drawn = engines.generator.generated
    answer = await gateway.chat(model=model, messages=[{"role": "user", "content": [IMAGE]}])
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert engines.generator.generated == drawn


@pytest.mark.parametrize("model", ["demo", "", "reward_server-separate "])
async def test_an_unknown_model(gateway: Gateway, model: str) -> None:
    answer = await gateway.chat(model=model, messages=ask())
    assert answer.status_code == (404 if model else 400)
    assert answer.json()["error"]["param"] == "model"


async def test_what_vllm_drops_or_takes_does_no_harm(gateway: Gateway) -> None:
    """Unknown parameters, nulls, roles of one's own, and every value at its edge."""
    bodies: tuple[dict[str, Any], ...] = (
        {"never_heard_of": {"a": [1]}, "best_of": 3},
        {"top_k": 0, "min_p": 0, "top_p": 1, "temperature": 2, "stop": None, "seed": -5},
        {"messages": [{"role": "wizard", "content": "hi"}]},
        {"messages": [{"role": "user", "content": "\x00熊\ud83d"[:2]}]},
        {"logprobs": True, "top_logprobs": 20},
        {"max_tokens": 1},
        {"logit_bias": {}},
    )
    for body in bodies:
        asked = {"model": "reward_server-together", "messages": ask(), **body}
        answer = await gateway.chat(**asked)
        assert answer.status_code == 200, (body, answer.text)
