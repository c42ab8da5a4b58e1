"""vLLM's own parsers, without weights: which form is right, and that it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.backends.policy.vllm.wire import streamable
from tests.bon_gateway.backends.support import chat
from tests.vllm_forks import VllmForks

ARGUMENTS = '{"city": "Paris", "unit": "celsius"}'
PROPERTIES = {"city": {"type": "string"}, "unit": {"type": "string"}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": PROPERTIES},
    },
}
TOOLS = {"tools": [WEATHER], "tool_choice": "auto"}
DEEPSEEK = [f"<\uff5ctool▁{what}\uff5c>" for what in (
    "calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep",
)]  # fmt: skip
STEP3 = [f"<\uff5ctool_{what}\uff5c>" for what in (
    "calls_begin", "calls_end", "call_begin", "call_end", "sep",
)]  # fmt: skip
PARAMETER = '<steptml:parameter name="{}">{}</steptml:parameter>'

CASES: dict[str, dict[str, Any]] = {
    "deepseek_v31": {
        "tool_parser": "deepseek_v31",
        "marks": DEEPSEEK,
        "text": "{0}{2}get_weather{4}{args}{3}{1}".format(*DEEPSEEK, args=ARGUMENTS),
        "request": TOOLS,
    },
    "xlam": {
        "tool_parser": "xlam",
        "marks": [],
        "text": f'[{{"name": "get_weather", "arguments": {ARGUMENTS}}}]',
        "request": TOOLS,
    },
    "step3": {
        "tool_parser": "step3",
        "marks": STEP3,
        "text": "{0}{2}function{4}{call}{3}{1}".format(
            *STEP3,
            call='<steptml:invoke name="get_weather">'
            + PARAMETER.format("city", "Paris")
            + PARAMETER.format("unit", "celsius")
            + "</steptml:invoke>",
        ),
        "request": TOOLS,
    },
    "hermes": {
        "tool_parser": "hermes",
        "marks": ["<tool_call>", "</tool_call>"],
        "text": f'<tool_call>\n{{"name": "get_weather", "arguments": {ARGUMENTS}}}\n</tool_call>',
        "request": TOOLS,
    },
    "deepseek_r1": {
        "reasoning_parser": "deepseek_r1",
        "marks": ["<think>", "</think>"],
        "text": "\n<think>I think about it, and then once more about all of it.</think>Paris.",
        "request": {},
    },
}
GARBLED = {"deepseek_v31", "xlam", "step3", "deepseek_r1"}
"""Whose stream differs from the whole answer in vLLM 0.32."""


@pytest.mark.vllm
def test_a_whole_answer_is_the_right_form(vllm: VllmForks) -> None:
    program = Path(__file__).with_name("feed_vllm_parsers.py")
    ran = vllm.result(program, stdin=json.dumps(CASES))
    assert ran.exit_code == 0, ran.stderr
    forms = json.loads(ran.stdout.splitlines()[-1])
    for name in ("deepseek_v31", "xlam", "step3", "hermes"):
        whole, _ = forms[name]
        assert [json.loads(call) for call in whole["arguments"]] == [json.loads(ARGUMENTS)]
    whole, _ = forms["deepseek_r1"]
    assert whole["content"] == "Paris."
    assert whole["reasoning"] == "I think about it, and then once more about all of it."
    assert {name for name, (whole, streamed) in forms.items() if whole != streamed} == GARBLED
    assert not any(streamable(chat(**CASES[name]["request"])) for name in GARBLED - {"deepseek_r1"})


@pytest.mark.parametrize(
    ("sampling", "alike"),
    [
        ({}, True),
        (TOOLS, False),
        ({"tools": [WEATHER]}, False),
        ({**TOOLS, "tool_choice": "required"}, False),
        ({**TOOLS, "tool_choice": "none"}, True),
        ({"tools": []}, True),
        ({"prompt_logprobs": 0}, False),
        ({"include_reasoning": False}, False),
        ({"logprobs": True, "return_token_ids": True}, True),
    ],
)
def test_what_may_be_streamed_to_count(sampling: dict[str, Any], alike: bool) -> None:
    assert streamable(chat(**sampling)) is alike
