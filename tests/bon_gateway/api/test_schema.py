"""The gateway takes what vLLM takes, and the policy gets what the client sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_gateway.api.messages import check_messages
from bon_gateway.api.render import to_request
from bon_gateway.api.schema import parse_chat
from bon_gateway.errors import BadRequestError
from bon_gateway.types import INSTEAD_OF_RANDOM, CacheUse, ChatRequest
from tests.bon_gateway.api.conftest import Serve
from tests.vllm_forks import VllmForks

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

LIKE_VLLM: list[dict[str, Any]] = [
    {"seed": seed} for seed in (0, -1, 2**62, 2**63 - 1, -(2**63), 4.0, "7", 2**53, True)
] + [
    {"max_tokens": 100.0},
    {"max_tokens": "100"},
    {"max_completion_tokens": 8.0},
    {"temperature": "0.5"},
    {"temperature": True},
    {"temperature": 2},
    {"top_p": "0.9"},
    {"n": 1.0},
    {"n": "1"},
    {"n": None},
    {"stream": "false"},
    {"stream": 0},
    {"stream": "true", "stream_options": {"include_usage": "yes"}},
    {"stream_options": {}},
    {"stream_options": None},
    {"logprobs": "true", "top_logprobs": 2.0},
    {"logprobs": 1, "top_logprobs": None},
    {"tools": [{"function": {"name": "f"}}]},
    {"tools": [{**TOOL, "more": 1}], "tool_choice": "required"},
    {"tools": [TOOL], "tool_choice": {"function": {"name": "f"}}},
    {"tools": [TOOL], "tool_choice": None},
    {"response_format": {"type": "text"}},
    {"structured_outputs": {"choice": ["a", "b"]}},
    {"use_beam_search": "false"},
    {"messages": [{"role": "wizard", "content": "hi"}]},
    {"messages": [{"role": "user", "content": ["hi", {"type": "text", "text": "ho"}]}]},
    {"messages": [{"role": "assistant", "content": None}]},
    {"echo": "no", "continue_final_message": 0, "return_token_ids": "on"},
    {"top_k": "5", "min_p": "0.1", "ignore_eos": "true"},
]  # fmt: skip


def parsed(**body: Any) -> ChatRequest:
    whole = {"model": "m", "messages": HI, **body}
    check_messages(whole, 100)
    return to_request(parse_chat(whole), whole, "r", {}, CacheUse())


@pytest.mark.parametrize("body", LIKE_VLLM, ids=str)
def test_what_vllm_takes_is_taken(body: dict[str, Any]) -> None:
    parsed(**body)


@pytest.mark.vllm
def test_vllm_does_take_it(vllm: VllmForks, tmp_path: Path) -> None:
    """By vLLM's own class, so that the list above is no guess."""
    bodies = [{"model": "m", "messages": HI, **body} for body in LIKE_VLLM]
    program = tmp_path / "ask.py"
    program.write_text(ASK_VLLM, "utf-8")
    ran = vllm.result(program, stdin=orjson.dumps(bodies).decode())
    assert ran.exit_code == 0, ran.stderr
    told = orjson.loads(ran.stdout.splitlines()[-1])
    assert [body for body, fault in zip(LIKE_VLLM, told, strict=True) if fault] == []


ASK_VLLM = """
import json, sys
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
faults = []
for body in json.load(sys.stdin):
    try:
        ChatCompletionRequest.model_validate(body)
    except ValueError as error:
        faults.append(str(error))
    else:
        faults.append(None)
print(json.dumps(faults))
"""


@pytest.mark.parametrize(
    ("sent", "reaches"),
    [
        ({"temperature": "0.5"}, {"temperature": 0.5}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"max_tokens": 100.0}, {"max_tokens": 100}),
        ({"max_tokens": "7"}, {"max_tokens": 7}),
        ({"logprobs": "false"}, {"logprobs": False}),
        ({"echo": "true"}, {"echo": True}),
        # What the gateway does not read goes as it came.
        ({"top_k": "5"}, {"top_k": "5"}),
        ({"user": "true"}, {"user": "true"}),
        ({"vllm_xargs": {"a": 2**64 - 1}}, {"vllm_xargs": {"a": 2**64 - 1}}),
    ],
)
def test_what_reaches_the_policy(sent: dict[str, Any], reaches: dict[str, Any]) -> None:
    sampling = parsed(**sent).sampling
    assert sampling == reaches
    assert [type(value) for value in sampling.values()] == [type(v) for v in reaches.values()]


@pytest.mark.parametrize("zero", [0, "0", "0.0", 0.0, "1e-9"])
def test_a_temperature_of_zero_is_greedy_however_it_is_written(zero: Any) -> None:
    assert parsed(temperature=zero).greedy


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 200))
def test_every_candidates_seed_is_one_that_vllm_takes(seed: int, index: int) -> None:
    request = parsed(seed=seed)
    drawn = request.seed_of(index)
    if seed == -1:
        assert drawn is None
        return
    assert drawn is not None
    assert -(2**63) <= drawn < 2**63
    assert drawn != -1, "vLLM would draw it at random"
    assert drawn == INSTEAD_OF_RANDOM or (drawn - seed - index) % 2**64 == 0


@given(st.integers(-(2**63), 2**63 - 1))
def test_seeds_differ_between_candidates(seed: int) -> None:
    seeds = [parsed(seed=seed).seed_of(index) for index in range(64)]
    assert seed == -1 or len(set(seeds)) == 64


def test_one_request_draws_several_only_where_vllms_own_seeds_are_the_same() -> None:
    assert parsed().seeds_run_on([0, 5])
    assert parsed(seed=7).seeds_run_on([2, 3, 4])
    assert not parsed(seed=7).seeds_run_on([2, 4])
    assert not parsed(seed=7).seeds_run_on([2, 5, 4])
    assert not parsed(seed=2**63 - 2).seeds_run_on(range(4))
    assert parsed(seed=2**63 - 1).seeds_run_on([1, 2])
    assert not parsed(seed=-3).seeds_run_on(range(4))


async def test_allowed_tools_are_refused_in_words_that_help(serve: Serve) -> None:
    served = await serve()
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    answer = await served.chat(tools=[TOOL], tool_choice=choice)
    assert answer.status_code == 400
    assert "'allowed_tools' is not supported" in answer.json()["error"]["message"]


def test_content_as_an_object_is_refused_in_words_that_help() -> None:
    with pytest.raises(BadRequestError, match=r"must be text, a list of parts or null, not an obj"):
        parsed(messages=[{"role": "user", "content": {"type": "text", "text": "hi"}}])
