"""What a judge is asked, and what counts as its verdict."""

from __future__ import annotations

import pytest

from bon_common.judging.prompts import PROMPT, fill, read_verdict, require_fields


def test_a_template_is_filled_once() -> None:
    texts = {"conversation": "say {a} {b} {x}", "a": "{b}", "b": "{conversation}"}
    assert fill("{conversation}|{a}|{b}|{c}", **texts) == ("say {a} {b} {x}|{b}|{conversation}|{c}")
    filled = fill(PROMPT, conversation="C1", a="A1", b="B1")
    assert all(part in filled for part in ("\nC1\n", "\nA1\n", "\nB1\n", "[[tie]]"))


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("[[A]] at first sight, but [[B]]", "B"),
        ("Equal. [[Tie]]", "TIE"),
        ("[[ C ]]", "TIE"),
        ("A is better", None),
    ],
)
def test_the_last_verdict_counts(reply: str, choice: str | None) -> None:
    assert read_verdict(reply) == choice


def test_a_missing_field_is_named() -> None:
    assert require_fields("{a} {b}", "a", "b") == "{a} {b}"
    with pytest.raises(ValueError, match=r"^\{b\} is missing$"):
        require_fields("{a}", "a", "b")
