"""Replies as engines give them: with thinking, split characters, odd log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from bon_gateway.backends.reward.judge.reply import LONGEST, NO_ROOM, NoReplyError, read_reply
from bon_gateway.thinking import ThinkingSettings

THINKS = ThinkingSettings()


def entry(text: str, *top: tuple[str, Any], logprob: Any = -0.1) -> dict[str, Any]:
    listed = [{"token": name, "logprob": value} for name, value in top]
    return {"token": text, "logprob": logprob, "top_logprobs": listed}


def answer(content: Any, entries: Sequence[Any] | None = None, **choice: Any) -> dict[str, Any]:
    logprobs = None if entries is None else {"content": [*entries]}
    message = {"role": "assistant", "content": content}
    return {
        "choices": [{"message": message, "logprobs": logprobs, "finish_reason": "stop", **choice}]
    }


def test_chances_of_one_word_are_added_up() -> None:
    reply = read_reply(answer("B", [entry("B", ("B", -1.0), (" B", -2.0), ("A", -3.0))]), None)
    [token] = reply.tokens
    assert token.chances == pytest.approx({"B": math.exp(-1) + math.exp(-2), "A": math.exp(-3)})


def test_the_token_itself_counts_if_it_is_none_of_the_likeliest() -> None:
    reply = read_reply(answer("C", [entry("C", ("A", -0.1), ("B", -3.0), logprob=-5.0)]), None)
    assert reply.tokens[0].chances["C"] == pytest.approx(math.exp(-5))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, None, "-1", 3.0, [], True])
def test_odd_log_probabilities_say_nothing(odd: Any) -> None:
    reply = read_reply(answer("B", [entry("B", ("B", -1.0), ("A", odd))]), None)
    assert set(reply.tokens[0].chances) == {"B"}


@pytest.mark.parametrize(
    "broken", [None, 7, "x", {}, {"token": 3}, {"token": "B", "top_logprobs": [None, 3, {}]}]
)
def test_broken_entries_are_survived(broken: Any) -> None:
    reply = read_reply(answer("B", [broken, entry("B", ("B", -1.0))]), None)
    assert reply.text == "B"


def test_the_verdict_follows_the_thinking() -> None:
    """The thinking names grades too, and its tokens are in the list."""
    entries = [entry("<think>"), entry("A"), entry("</think>"), entry("\n\n"), entry("B")]
    content = "<think>A</think>\n\nB"
    reply = read_reply(answer(content, entries), THINKS)
    assert (reply.text, len(reply.tokens)) == ("B", 1)
    assert reply.tokens[0].chances.keys() == {"B"}
    # A parser at the engine takes the thinking out of the content, and the tokens stay.
    parsed = read_reply(answer("B", [*entries, entry("<|im_end|>")]), None)
    assert [set(token.chances) for token in parsed.tokens] == [{"B"}]


def test_a_token_is_found_by_its_character() -> None:
    pieces = "Die Note: 熊 **C**".encode()
    cut = (0, 4, 11, 12, 14, 16, 17, len(pieces))  # the bear is cut in the middle
    entries = [
        {**entry("?", (str(i), -1.0)), "bytes": [*pieces[a:b]]}
        for i, (a, b) in enumerate(pairwise(cut))
    ]
    reply = read_reply(answer(pieces.decode(), entries), None)
    assert "5" in reply.token_at(reply.text.index("C")).chances
    assert "0" in reply.token_at(0).chances


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"choices": []},
        {"choices": "x"},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        answer(None),
        answer(""),
        answer("   "),
        answer(7),
        answer("B", finish_reason="content_filter"),
        answer("B", finish_reason="abort"),
        answer("", [entry("a"), entry("b")]),
    ],
)
def test_what_is_no_reply(bad: dict[str, Any]) -> None:
    with pytest.raises(NoReplyError):
        read_reply(bad, None)


def test_thinking_that_has_not_ended_is_no_reply() -> None:
    with pytest.raises(NoReplyError, match="its thinking has not ended"):
        read_reply(answer("<think>A B", [entry("<think>")]), THINKS)


@pytest.mark.parametrize(
    ("content", "message", "thinking"),
    [
        ("<think>grade: C", {}, THINKS),
        ("The template opened the thinking. Grade: C", {}, THINKS),
        (None, {"reasoning": "Grade: C"}, None),
        ("", {"reasoning_content": "Grade: C"}, None),
    ],
)
def test_a_judge_without_room_for_its_thinking(
    content: Any, message: dict[str, Any], thinking: ThinkingSettings | None
) -> None:
    given = answer(content, finish_reason="length")
    given["choices"][0]["message"] |= message
    with pytest.raises(NoReplyError) as caught:
        read_reply(given, thinking)
    assert str(caught.value) == NO_ROOM


@pytest.mark.parametrize(
    "content",
    [
        "<think>a</think><think>so grade: C</think>Q",
        "<think>I weigh <think> tags.</think> maybe grade: C </think>Q",
    ],
)
def test_no_verdict_comes_from_thinking(content: str) -> None:
    assert read_reply(answer(content), THINKS).text == "Q"


def test_content_in_parts_is_read() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Grade: C"}]}
    parts = [thought, {"type": "text", "text": "Grade: "}, {"type": "text", "text": "Q"}]
    reply = read_reply(answer(parts, [entry("Grade"), entry(": "), entry("Q", ("Q", -0.1))]), None)
    assert reply.text == "Grade: Q"
    assert reply.token_at(7).chances.keys() == {"Q"}


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"type": "thinking", "thinking": "Q"}],
        [{"type": "refusal", "refusal": "Q"}],
        [{"type": "text", "text": "Q"}, {"type": "image_url", "image_url": {}}],
        [{"type": "text", "text": 7}],
        ["Q", None],
        [{"type": ["text"], "text": "Q"}],
    ],
)
def test_parts_that_are_no_text(parts: list[Any]) -> None:
    with pytest.raises(NoReplyError, match="its reply has no text"):
        read_reply(answer(parts), None)


def test_a_single_token_is_read_whatever_was_drawn() -> None:
    """Its alternatives still count."""
    reply = read_reply(answer("\n", [entry("\n", ("\n", -0.6), ("B", -0.8))]), None)
    assert reply.tokens[0].chances["B"] == pytest.approx(math.exp(-0.8))


def test_text_without_log_probabilities_has_no_tokens() -> None:
    for given in (answer("B"), answer("B", [entry("something else")])):
        reply = read_reply(given, None)
        assert not reply.tokens


@pytest.mark.parametrize("end", ["<|END_OF_TURN|>", "[BOS]", " </B>", "AB"])
def test_the_name_of_the_token_that_ends_the_turn_is_no_verdict(end: str) -> None:
    entries = [entry("B", ("B", -0.1)), entry(end, (end, -0.1))]
    reply = read_reply(answer("B", entries), None)
    assert [set(token.chances) for token in reply.tokens] == [{"B"}]


def test_a_text_that_ends_within_a_token_is_found_all_the_same() -> None:
    reply = read_reply(answer("B", [entry("</think>B", ("B", -0.1))]), None)
    assert len(reply.tokens) == 1


def test_a_text_without_end_is_no_reply() -> None:
    with pytest.raises(NoReplyError, match="more than 262,144 characters"):
        read_reply(answer("x" * (LONGEST + 1)), None)
    # Thinking may be as long as it likes.
    thought = f"<think>{'x' * LONGEST}</think>B"
    reply = read_reply(answer(thought), THINKS)
    assert reply.text == "B"
