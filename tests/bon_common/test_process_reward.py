"""How answers split into steps, and how scores become rewards."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.process_reward import (
    Aggregate,
    StepReading,
    aggregated,
    read_step_notes,
    right_label,
    split_steps,
    step_score,
)


@pytest.mark.parametrize(
    ("text", "steps", "so_far"),
    [
        ("one\n\ntwo\n\nthree", ["one", "two", "three"], ["one", "two"]),
        ("one\n\ntwo\n\n", ["one", "two"], ["one", "two"]),
        ("\n\n\n one \n\n\n\n\ntwo", ["one", "two"], ["one"]),
        ("one\ntwo", ["one\ntwo"], ["one\ntwo"]),
        ("\n\none", ["one"], ["one"]),
        ("", [""], [""]),
        (" \n\n ", [""], [""]),
    ],
)
def test_steps_stand_between_separators(text: str, steps: list[str], so_far: list[str]) -> None:
    assert split_steps(text, "\n\n") == steps
    assert split_steps(text, "\n\n", unfinished=True) == so_far


@given(st.text(alphabet="ab \n"))
def test_steps_hold_all_but_white_space(text: str) -> None:
    steps = split_steps(text, "\n\n")
    assert "".join("".join(steps).split()) == "".join(text.split())
    so_far = split_steps(text, "\n\n", unfinished=True)
    assert steps[: len(so_far)] == so_far


def test_a_score_is_the_probability_of_the_right_label() -> None:
    assert step_score((1.0, 3.0), 1) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert step_score((1.0, 3.0), 0) == pytest.approx(1 / (1 + math.exp(2.0)))
    assert step_score((0.7,), 0) == pytest.approx(1 / (1 + math.exp(-0.7)))
    assert step_score((1.0, 2.0, 3.0), 2) == pytest.approx(0.6652409557748219)
    assert step_score((-900.0, 900.0), 1) == 1.0
    assert step_score((900.0,), 0) == 1.0
    assert step_score((-900.0,), 0) == 0.0
    assert math.isnan(step_score((math.inf, 0.0), 1))
    assert math.isnan(step_score((math.nan,), 0))


@pytest.mark.parametrize(
    ("how", "reward"), [("min", 0.25), ("product", 0.1), ("last", 0.5), ("mean", 1.55 / 3)]
)
def test_what_is_made_of_the_scores(how: Aggregate, reward: float) -> None:
    assert aggregated((0.8, 0.25, 0.5), how) == pytest.approx(reward)
    assert aggregated((0.3,), how) == pytest.approx(0.3)


def test_the_right_label_is_the_second_of_two_or_named() -> None:
    assert right_label(("wrong", "right"), None) == 1
    assert right_label(("only",), None) == 0
    assert right_label(("bad", "neutral", "good"), "neutral") == 1
    with pytest.raises(ValueError, match="3 labels; name one of bad, neutral, good"):
        right_label(("bad", "neutral", "good"), None)
    with pytest.raises(ValueError, match="no label 'x'; there are wrong, right"):
        right_label(("wrong", "right"), "x")


def test_notes_of_a_trainer_are_checked() -> None:
    notes = {"separator": "\n", "token": None, "label": "right", "aggregate": "mean"}
    assert read_step_notes(notes) == StepReading("\n", None, "right", "mean")
    for broken in ({"separator": ""}, {"seperator": "\n"}, {"token": 3}, {"aggregate": "max"}, 7):
        with pytest.raises(ValueError, match=r"separator|seperator|aggregate|mapping|must be"):
            read_step_notes(broken)
