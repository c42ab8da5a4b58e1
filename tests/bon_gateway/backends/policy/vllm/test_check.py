"""The quick look at a whole answer never lets through what the slow one refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.backends.policy.vllm import check

PLAIN: dict[str, Any] = {
    "index": 0,
    "message": {"role": "assistant", "content": "hi", "tool_calls": [], "reasoning": None},
    "finish_reason": "stop",
    "logprobs": None,
    "token_ids": [1, 2],
}
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "stop", "abort", "error", "\ud800"]),
    st.sampled_from([[], {}, [None], [{}], [{"function": 1}], {"content": []}, DEEP]),
)
MESSAGE_KEYS = ("role", "content", "refusal", "reasoning", "reasoning_content", "tool_calls", "x")
CHOICE_KEYS = (*PLAIN, "stop_reason")


def passes(choice: dict[str, Any]) -> bool:
    try:
        check.place_of(choice)
        check.check_whole(choice)
    except UpstreamError:
        return False
    return True


@given(
    st.dictionaries(st.sampled_from(CHOICE_KEYS), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(MESSAGE_KEYS), VALUES, max_size=2),
)
@example({}, {"reasoning": "so"})
@example({"logprobs": {"content": [{"logprob": float("nan")}]}}, {})
def test_what_is_plain_passes(fields: dict[str, Any], message: dict[str, Any]) -> None:
    choice = {**PLAIN, "message": {**PLAIN["message"], **message}, **fields}
    if check.all_plain([PLAIN, choice], writable=False):
        assert passes(choice)
        assert not choice["message"].get("reasoning")
        assert not choice["message"].get("reasoning_content")


@pytest.mark.parametrize("field", [{}, {"stop_reason": 7}, {"token_ids": None}, {"index": 3}])
def test_what_most_choices_are_is_plain(field: dict[str, Any]) -> None:
    assert check.all_plain([{**PLAIN, **field}], writable=False)
    assert passes({**PLAIN, **field})


@pytest.mark.parametrize(
    "field",
    [
        {"finish_reason": "abort"},
        {"finish_reason": None},
        {"index": True},
        {"x": DEEP},
        {"message": None},
    ],
)
def test_one_choice_alone_makes_an_answer_not_plain(field: dict[str, Any]) -> None:
    broken = {**PLAIN, **field}
    assert not check.all_plain([PLAIN, broken], writable=False)
    assert not passes(broken)
