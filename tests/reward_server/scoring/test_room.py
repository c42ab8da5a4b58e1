from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_server.errors import ContextLengthError
from reward_server.network.sequence import Rendered
from reward_server.scoring.room import Room
from reward_server.scoring.text_bound import TextBound

CONVERSATION = Rendered((1, 10, 11, 12, 13, 20, 21), prompt_tokens=5, fixed_tokens=1)


def test_what_fits_is_left_alone() -> None:
    assert Room(0, 7, "truncate_prompt", TextBound()).fit(CONVERSATION, 0) is CONVERSATION


def test_refusing_names_the_candidate_and_the_limit() -> None:
    with pytest.raises(ContextLengthError) as caught:
        Room(2, 6, "refuse", TextBound()).fit(CONVERSATION, 3)
    assert caught.value.param == "items[2].completions[3]"
    assert caught.value.code == "context_length_exceeded"
    assert "7 tokens" in caught.value.message
    assert "limit is 6" in caught.value.message


@pytest.mark.parametrize("limit", [1, 4, 5])
def test_a_prompt_that_leaves_no_room_for_any_answer_is_named_itself(limit: int) -> None:
    """A caller need not ask about its other answers."""
    with pytest.raises(ContextLengthError) as caught:
        Room(2, limit, "refuse", TextBound()).fit(CONVERSATION, 3)
    assert caught.value.param == "items[2].messages"
    assert f"the prompt is 5 tokens long; the limit is {limit}" in caught.value.message


def test_cutting_takes_the_prompts_left_side_and_keeps_bos() -> None:
    cut = Room(0, 5, "truncate_prompt", TextBound()).fit(CONVERSATION, 0)
    assert cut == Rendered((1, 12, 13, 20, 21), prompt_tokens=3, fixed_tokens=1, truncated=True)


def test_an_answer_that_is_too_long_alone_is_refused() -> None:
    assert Room(0, 3, "truncate_prompt", TextBound()).fit(CONVERSATION, 0).ids == (1, 20, 21)
    with pytest.raises(ContextLengthError) as caught:
        Room(0, 2, "truncate_prompt", TextBound()).fit(CONVERSATION, 0)
    assert "the answer alone is 3 tokens" in caught.value.message


@given(st.integers(0, 2), st.integers(0, 20), st.integers(1, 20), st.integers(1, 50))
def test_the_answer_survives_every_cut(fixed: int, prompt: int, answer: int, limit: int) -> None:
    ids = tuple(range(fixed + prompt + answer))
    types = tuple(0 if i < fixed + prompt else 1 for i in ids)
    rendered = Rendered(ids, fixed + prompt, fixed, types)
    try:
        cut = Room(0, limit, "truncate_prompt", TextBound()).fit(rendered, 0)
    except ContextLengthError:
        assert fixed + answer > limit
        return
    assert len(cut.ids) == min(len(ids), limit)
    assert cut.ids[cut.prompt_tokens :] == ids[fixed + prompt :]
    assert cut.ids[:fixed] == ids[:fixed]
    assert cut.truncated == (len(ids) > limit)
    assert cut.token_types is not None
    assert [types[i] for i in cut.ids] == list(cut.token_types)
