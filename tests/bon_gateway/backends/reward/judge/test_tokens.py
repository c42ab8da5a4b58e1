"""Log-probabilities in the forms in which servers write tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bon_gateway.backends.reward.judge.tokens import tokens_of, why_none


def token(text: str, logprob: float = -1.0, raw: Any = None) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": raw}


def entry(text: str, *others: str, raw: Any = None) -> dict[str, Any]:
    listed = [token(text, raw=raw), *(token(other, -2.0) for other in others)]
    return {**token(text, raw=raw), "top_logprobs": listed}


@pytest.mark.parametrize("mark", ["\u2581", "\u0120", "\u010a", " "])
def test_marks_of_white_space_are_white_space(mark: str) -> None:
    [found] = tokens_of("Q", [entry(f"{mark}Q", "Q", f"{mark}R")])
    assert found.chances == pytest.approx({"Q": math.exp(-1) + math.exp(-2), "R": math.exp(-2)})


@pytest.mark.parametrize("mark", ["\u2581", "\u0120"])
def test_a_text_of_several_tokens_is_found_behind_marks(mark: str) -> None:
    entries = [entry("Grade"), entry(":"), entry(f"{mark}Q"), entry("</s>")]
    found = tokens_of("Grade: Q", entries)
    assert [one.end for one in found] == [5, 6, 8]
    assert found[-1].chances.keys() == {"Q"}


def test_bytes_say_the_text() -> None:
    [found] = tokens_of("Q", [entry("<0x51>", "R", raw=[0x51])])
    assert found.chances.keys() == {"Q", "R"}


@pytest.mark.parametrize("raw", [None, [], [300], ["Q"], "Q", [0xFF]])
def test_without_usable_bytes_the_name_says_it(raw: Any) -> None:
    listed = entry("Q", raw=raw)
    [found] = tokens_of("", [listed])
    assert found.chances.keys() == {"Q"}


def test_a_mark_that_the_judge_wrote_stays() -> None:
    found = tokens_of("\u0120 Q", [entry("\u0120"), entry(" Q")])
    assert [one.end for one in found] == [2, 4]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "gives no log-probabilities"),
        ([entry("token_id:48")], "--return-tokens-as-token-ids"),
        ([entry("something else")], "do not make up its reply"),
        ([None, 7, {"token": 3}], "do not make up its reply"),
    ],
)
def test_why_a_reply_has_no_tokens(entries: list[Any], why: str) -> None:
    assert not tokens_of("Q", entries)
    assert why in why_none(entries)
