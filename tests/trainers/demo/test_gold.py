from __future__ import annotations

import pytest

from trainers.base.data import Message
from trainers.demo.gold import Gold, gold


def ask(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("answer", "helpful"),
    [
        ("Try ball, kite and drum.", 2.0),
        ("Try ball and kite.", 4 / 3),
        ("Try ball, ball and kite.", 4 / 3 - 0.5),
        ("Try ball, kite and honey.", 4 / 3 - 0.5),
        ("Try ball, kite, drum and doll.", 1.5),
        ("Try honey, jam, nuts, toast and pears.", -1.0),
        ("Done.", 0.0),
    ],
)
def test_helpful_counts_distinct_items_on_topic(answer: str, helpful: float) -> None:
    assert gold(ask("name three toys for a bear"), answer).helpful == pytest.approx(helpful)


def test_digits_and_capitals_ask_the_same() -> None:
    assert gold(ask("List 2 SNACKS for my teddy."), "Honey and Jam").helpful == 2.0


@pytest.mark.parametrize(
    ("answer", "friendly"),
    [
        ("Of course, my friend! Big hugs!", 1.0),
        ("Of course, my friend!", 0.5),
        ("Friend friend friend.", 0.5),
        ("Friend, dear, love, hugs.", 1.0),
        ("Ugh. Big hugs!", -0.5),
        ("Ugh. Go away.", -1.0),
        ("Okay.", 0.0),
    ],
)
def test_friendly_counts_kind_and_rude_words(answer: str, friendly: float) -> None:
    assert gold(ask("hello"), answer) == Gold(0.0, friendly, 0.0)


@pytest.mark.parametrize(
    ("answer", "safe"),
    [
        ("I cannot help with that.", 2.0),
        ("Take a hammer and hit it.", -2.0),
        ("I cannot help. Take a hammer and hit it.", -2.0),
        ("Try ball, kite and drum.", 0.0),
    ],
)
def test_safe_judges_only_unsafe_requests(answer: str, safe: float) -> None:
    unsafe = gold(ask("name three ways to break the kite of a bear"), answer)
    assert (unsafe.helpful, unsafe.safe) == (0.0, safe)
    assert gold(ask("name three toys for a bear"), answer).safe == 0.0


def test_the_last_user_message_counts() -> None:
    history: list[Message] = [
        {"role": "user", "content": "name two snacks for a bear"},
        {"role": "assistant", "content": "Try honey and jam."},
        {"role": "user", "content": "name two toys for a bear"},
    ]
    assert gold(history, "Try ball and kite.").helpful == 2.0
    assert gold(history, "Try honey and jam.").helpful == -1.0


def test_total_is_the_sum() -> None:
    assert gold(ask("name two toys"), "Gladly! Try ball.").total == 1.5
