from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.backends.policy.embedded.params import (
    WITHOUT_EFFECT,
    SamplingParams,
    fit_to_context,
    parse,
)
from bon_gateway.errors import PolicyRefusedError

REFUSED: list[tuple[str, Any]] = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", True),
    ("temperature", float("nan")),
    ("top_p", 0),
    ("top_p", 1.01),
    ("top_k", -2),
    ("top_k", 1.5),
    ("min_p", -0.01),
    ("min_p", 1.1),
    ("presence_penalty", 2.1),
    ("frequency_penalty", -2.1),
    ("repetition_penalty", 0),
    ("repetition_penalty", float("inf")),
    ("max_tokens", 0),
    ("max_tokens", "9"),
    ("max_completion_tokens", 0),
    ("min_tokens", -1),
    ("stop", ""),
    ("stop", ["a", ""]),
    ("stop", [1]),
    ("stop", 1),
    ("stop_token_ids", [10]),
    ("stop_token_ids", [True]),
    ("stop_token_ids", 3),
    ("ignore_eos", 1),
    ("skip_special_tokens", "no"),
    ("include_stop_str_in_output", 0),
    ("return_token_ids", 1),
    ("logprobs", 5),
    ("top_logprobs", 11),
    ("top_logprobs", -1),
    ("top_logprobs", 2),
    ("logit_bias", {"10": 1}),
    ("logit_bias", {"a": 1}),
    ("logit_bias", {"1": 101}),
    ("logit_bias", {"1": float("nan")}),
    ("logit_bias", {"1": "much"}),
    ("logit_bias", [1]),
    ("chat_template_kwargs", "x"),
]

UNSUPPORTED: list[tuple[str, Any]] = [
    ("tools", [{"type": "function", "function": {"name": "f"}}]),
    ("tool_choice", "auto"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("response_format", {"type": "json_object"}),
    ("response_format", {"type": "json_schema", "json_schema": {}}),
    ("structured_outputs", {"choice": ["a"]}),
    ("guided_json", {}),
    ("use_beam_search", True),
    ("echo", True),
    ("bad_words", ["x"]),
    ("reasoning_effort", "high"),
    ("chat_template", "x"),
    ("documents", []),
    ("temprature", 1.0),
    ("max_tokens_param", "x"),
]


def parsed(**sampling: Any) -> SamplingParams:
    return parse(sampling, {}, 10)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_wrong_value_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        parsed(**{name: value})
    assert (caught.value.param, caught.value.status) == (name, 400)
    assert name in caught.value.message


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
def test_what_cannot_be_honoured_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        parsed(**{name: value})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


def test_fields_without_effect_and_neutral_values_are_taken() -> None:
    neutral = {
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "structured_outputs": None,
        "modalities": ["text"],
    }
    assert parsed(**dict.fromkeys(WITHOUT_EFFECT, "x"), **neutral) == SamplingParams()


def test_borders_of_the_ranges_are_taken() -> None:
    params = parsed(
        temperature=2,
        top_p=1,
        top_k=-1,
        min_p=1,
        presence_penalty=-2,
        frequency_penalty=2,
        repetition_penalty=1e-3,
        max_tokens=1,
        min_tokens=0,
        top_logprobs=10,
        logprobs=True,
    )
    assert (params.top_k, params.min_p, params.top_logprobs) == (0, 1.0, 10)


def test_values_arrive() -> None:
    params = parsed(
        temperature=0.5,
        stop="a",
        stop_token_ids=[3, 3],
        logit_bias={"4": -100, 5: 1.5},
        ignore_eos=True,
        chat_template_kwargs={"k": 1},
    )
    assert params == SamplingParams(
        temperature=0.5,
        stop=("a",),
        stop_token_ids=frozenset({3}),
        logit_bias={4: -100.0, 5: 1.5},
        ignore_eos=True,
        chat_template_kwargs={"k": 1},
    )


def test_a_tiny_temperature_is_greedy_as_in_vllm() -> None:
    assert parsed(temperature=9e-6).temperature == 0
    assert parsed(temperature=1e-5).temperature == 1e-5


def test_null_counts_as_absent() -> None:
    assert parsed(temperature=None, tools=None, stop=None, anything=None) == SamplingParams()


def test_the_checkpoints_defaults_hold_until_the_client_says_otherwise() -> None:
    defaults = {"temperature": 0.7, "top_k": 5}
    params = parse({"top_k": 0}, defaults, 10)
    assert (params.temperature, params.top_k) == (0.7, 0)


def test_max_completion_tokens_takes_precedence() -> None:
    params = parsed(max_tokens=5, max_completion_tokens=6)
    assert (params.max_tokens, params.max_tokens_param) == (6, "max_completion_tokens")


class TestFitToContext:
    def test_the_default_is_cut_to_what_the_context_leaves(self) -> None:
        assert fit_to_context(SamplingParams(), 60, 100, 512) == 40
        assert fit_to_context(SamplingParams(), 60, 100, 30) == 30
        assert fit_to_context(SamplingParams(), 60, None, 512) == 512

    def test_a_prompt_may_leave_one_token(self) -> None:
        assert fit_to_context(SamplingParams(), 99, 100, 512) == 1

    def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(self) -> None:
        with pytest.raises(PolicyRefusedError, match=r"100 tokens long.* 100") as caught:
            fit_to_context(SamplingParams(), 100, 100, 512)
        assert (caught.value.param, caught.value.code) == ("messages", "context_length_exceeded")

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_an_explicit_limit_beyond_the_context_is_refused(self, name: str) -> None:
        params = parsed(**{name: 41})
        with pytest.raises(PolicyRefusedError) as caught:
            fit_to_context(params, 60, 100, 512)
        assert (caught.value.param, caught.value.code) == (name, "context_length_exceeded")
        assert fit_to_context(parsed(**{name: 40}), 60, 100, 512) == 40

    def test_min_tokens_must_fit_below_the_limit(self) -> None:
        with pytest.raises(PolicyRefusedError) as caught:
            fit_to_context(parsed(min_tokens=6, max_tokens=5), 1, 100, 512)
        assert caught.value.param == "min_tokens"
        assert fit_to_context(parsed(min_tokens=5, max_tokens=5), 1, 100, 512) == 5
