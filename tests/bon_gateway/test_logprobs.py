"""What a policy is asked for so that it can be measured, and what the client sees of that."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bon_gateway.logprobs import Measuring, Reading, measured
from bon_gateway.strategies.signals import (
    MEAN_LOGPROB,
    LowestGroupSettings,
    MeanLogprobSettings,
    SelfCertaintySettings,
    SignalSettings,
)
from bon_gateway.testing.fakes import completion
from bon_gateway.types import ChatRequest, Signal

TOP_2 = LowestGroupSettings(type="lowest_group", top_logprobs=2).build()


def request(signal: Signal | None, **sampling: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "?"}]
    return ChatRequest(messages, sampling, None, 1, "request", signal=signal)


def token(own: float, *others: float) -> dict[str, Any]:
    listed = [{"token": str(i), "logprob": each} for i, each in enumerate(others)]
    return {"token": "t", "logprob": own, "bytes": [116], "top_logprobs": listed}


def asked(signal: Signal, **sampling: Any) -> dict[str, Any]:
    measuring = Measuring.of(request(signal, **sampling))
    assert measuring is not None
    return dict(measuring.asked(request(signal, **sampling)).sampling)


def test_what_nobody_measures_is_left_alone() -> None:
    assert Measuring.of(request(None, logprobs=True)) is None
    plain = completion(logprobs=(-1.0,))
    assert measured(plain, None) is plain


def test_the_policy_is_asked_for_what_the_signal_reads() -> None:
    assert asked(MEAN_LOGPROB, temperature=1) == {"temperature": 1, "logprobs": True}
    assert asked(TOP_2) == {"logprobs": True, "top_logprobs": 3}
    assert asked(TOP_2, logprobs=False) == {"logprobs": True, "top_logprobs": 3}
    assert asked(TOP_2, logprobs=True, top_logprobs=2)["top_logprobs"] == 3
    assert asked(TOP_2, logprobs=True, top_logprobs=9)["top_logprobs"] == 9
    assert asked(MEAN_LOGPROB, logprobs=True, top_logprobs=9)["top_logprobs"] == 9


def test_an_echoed_prompt_gets_what_it_would_have_got() -> None:
    """vLLM gives it as many alternatives as the answer, unless the request says how many."""
    assert asked(TOP_2, echo=True)["prompt_logprobs"] == 0
    assert asked(TOP_2, echo=True, logprobs=True, top_logprobs=1)["prompt_logprobs"] == 1
    assert asked(TOP_2, echo=True, prompt_logprobs=4)["prompt_logprobs"] == 4
    assert "prompt_logprobs" not in asked(MEAN_LOGPROB, echo=True)
    assert "prompt_logprobs" not in asked(TOP_2, echo=True, logprobs=True, top_logprobs=9)
    assert "prompt_logprobs" not in asked(TOP_2)


def test_a_request_that_the_engine_refuses_stays_as_it_is() -> None:
    assert Measuring.of(request(MEAN_LOGPROB, top_logprobs=2)) is None
    assert Measuring.of(request(TOP_2, top_logprobs=2, logprobs=False)) is None
    assert Measuring.of(request(MEAN_LOGPROB, top_logprobs=0)) is not None


def test_tokens_that_the_client_names_are_not_the_likeliest() -> None:
    named = {"logprobs": True, "logprob_token_ids": [5]}
    assert Measuring.of(request(TOP_2, **named)) is None
    assert asked(MEAN_LOGPROB, **named) == named


CONTENT = [token(-3.0, -3.0, -0.5, -1.5), token(-0.25, -0.25, -2.0, -4.0)]
"""As vLLM lists them: first the token drawn."""


@pytest.mark.parametrize(
    ("sampling", "shown"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 0}, 0),
        ({"logprobs": True, "top_logprobs": 2}, 2),
        ({"logprobs": True, "top_logprobs": 3}, 3),
    ],
)
def test_the_client_sees_what_it_asked_for(sampling: dict[str, Any], shown: int | None) -> None:
    drawn = completion(logprobs=())
    drawn = type(drawn)(
        message=drawn.message,
        finish_reason="stop",
        tokens=2,
        prompt_tokens=5,
        logprobs={"content": CONTENT, "refusal": None},
    )
    seen = measured(drawn, Measuring.of(request(TOP_2, **sampling)))
    # The two largest of each place: (0.5 + 1.5) / 2 and (0.25 + 2) / 2.
    assert seen.confidence == pytest.approx((1.0 + 1.125) / 2, abs=1e-9)
    if shown is None:
        assert seen.logprobs is None
        return
    cut = [{**each, "top_logprobs": each["top_logprobs"][:shown]} for each in CONTENT]
    assert seen.logprobs == {"content": cut, "refusal": None}
    assert (seen.message, seen.tokens) == (drawn.message, 2)
    assert len(CONTENT[0]["top_logprobs"]) == 3


def test_the_mean_is_that_of_the_tokens_drawn() -> None:
    seen = measured(completion(logprobs=(-1.0, -3.0)), Measuring.of(request(MEAN_LOGPROB)))
    assert (seen.confidence, seen.logprobs) == (-2.0, None)


def read(settings: SignalSettings, *parts: object) -> float | None:
    reading = Reading(settings.build())
    for part in parts:
        reading.add(part)
    return reading.confidence


def test_a_stream_is_read_part_by_part() -> None:
    settings = SelfCertaintySettings(type="self_certainty", top_logprobs=2)
    uniform = {"content": [token(-1.0, -1.0, -1.0)]}
    sure = {"content": [token(-0.1, math.log(0.75), math.log(0.25), -9.0)]}
    certain = math.log(2) - math.log(3) / 2
    assert read(settings, None, uniform, {"content": []}, sure) == pytest.approx(certain / 2)


GOOD = {"content": [token(-1.0, -1.0, -2.0, -3.0)]}
TOP_3: list[SignalSettings] = [
    SelfCertaintySettings(type="self_certainty", top_logprobs=3),
    LowestGroupSettings(type="lowest_group", top_logprobs=3),
]


@pytest.mark.parametrize("nothing", [None, {}, {"content": None}, {"content": []}, "text", []])
def test_no_tokens_are_no_confidence(nothing: object) -> None:
    for kind in (*TOP_3, MeanLogprobSettings()):
        assert read(kind, nothing) is None
        # A chunk without tokens takes nothing from the others.
        assert read(kind, GOOD, nothing) == read(kind, GOOD) is not None


@pytest.mark.parametrize(
    "broken",
    [
        {"content": [{"token": "t"}]},
        {"content": [{"logprob": None}]},
        {"content": [{"logprob": "-1"}]},
        {"content": [{"logprob": 1e308}] * 3},
        {"content": ["t"]},
        {"content": 5},
    ],
)
def test_one_token_that_cannot_be_read_spoils_all(broken: object) -> None:
    for kind in (*TOP_3, MeanLogprobSettings()):
        assert read(kind, broken) is None
        assert read(kind, GOOD, broken, GOOD) is None


@pytest.mark.parametrize(
    "others", [None, 7, [], ["x"], [{"logprob": "x"}, {"logprob": 1}], [{"logprob": 1e308}] * 3]
)
def test_only_some_signals_need_alternatives(others: object) -> None:
    broken = {"content": [{**token(-1.0), "top_logprobs": others}]}
    for kind in TOP_3:
        assert read(kind, GOOD, broken) is None
    assert read(MeanLogprobSettings(), GOOD, broken) == -1.0
