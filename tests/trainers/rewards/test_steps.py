"""Labelled steps, as they are read, and the figures of a model's scores on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bon_common.process_reward import StepReading
from trainers.base.data import read_records
from trainers.base.errors import DataError
from trainers.rewards.steps import LabelledSteps, ScoredSteps, first_wrong, step_figures

READING = StepReading("\n\n", "<step>")


def read(tmp_path: Path, **values: Any) -> LabelledSteps:
    path = tmp_path / "steps.jsonl"
    path.write_text(json.dumps({"prompt": "2 + 3?", **values}) + "\n")
    return read_records(LabelledSteps, path)[0]


def test_both_forms_are_read(tmp_path: Path) -> None:
    ours = read(tmp_path, steps=["a", "b", "c"], labels=[1, 0.5, None])
    assert ours.labels == [1.0, 0.5, None]
    trls = read(tmp_path, completions=["a", " b\n"], labels=[True, False])
    assert (trls.steps, trls.labels) == (["a", " b\n"], [1.0, 0.0])
    assert trls.answered(READING).messages == [
        {"role": "user", "content": "2 + 3?"},
        {"role": "assistant", "content": "a\n\n b\n"},
    ]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"steps": ["a", "b"], "labels": [1]}, "labels: 1 for 2 steps"),
        ({"steps": ["a"], "labels": [None]}, "labels: none is known"),
        ({"steps": [], "labels": []}, "steps: "),
        ({"steps": ["a"], "labels": [-1]}, "labels.0: "),
        ({"steps": ["a"], "labels": [2]}, "labels.0: "),
        ({"steps": ["a"], "labels": ["+"]}, "labels.0: "),
        ({"labels": [1]}, "steps: "),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=r"steps\.jsonl:1") as caught:
        read(tmp_path, **values)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("one\n\ntwo", r"steps\.1: holds the separator"),
        ("one<step>", r"steps\.1: holds the mark '<step>'"),
        (" \n", r"steps\.1: empty"),
    ],
)
def test_a_step_that_is_served_otherwise_is_refused(tmp_path: Path, step: str, reason: str) -> None:
    record = read(tmp_path, steps=["a", step], labels=[1, 1])
    with pytest.raises(ValueError, match=reason):
        record.answered(READING)


def test_the_first_wrong_step() -> None:
    assert first_wrong([1.0, 0.5, 0.49, 0.0]) == 2
    assert first_wrong([None, 0.0]) == 1
    assert first_wrong([1.0, None]) is None


def test_figures_are_what_a_hand_computes() -> None:
    found = step_figures(
        [
            ScoredSteps([0.9, 0.2, 0.8], [1.0, 0.0, None]),  # found
            ScoredSteps([0.9, 0.9, 0.1], [1.0, 0.0, 0.0]),  # one too late
            ScoredSteps([0.9, 0.9, 0.9], [0.0, 1.0, 1.0]),  # missed
            ScoredSteps([0.6], [1.0]),  # right
            ScoredSteps([0.6, 0.4], [1.0, 1.0]),  # a false alarm
        ]
    )
    assert found.step_accuracy == pytest.approx(8 / 11)
    assert found.wrong_answers == pytest.approx(1 / 3)
    assert found.right_answers == pytest.approx(1 / 2)
    assert found.f1 == pytest.approx(0.4)
    assert (found.answers, found.steps) == (5, 11)
    assert found.table()["first-error F1"] == pytest.approx(0.4)


def test_without_both_kinds_of_answers_there_is_no_f1() -> None:
    found = step_figures([ScoredSteps([0.6], [1.0])])
    assert (found.f1, found.wrong_answers, found.right_answers) == (None, None, 1.0)
    assert "first-error F1" not in found.table()
    none = step_figures([ScoredSteps([0.6], [0.0]), ScoredSteps([0.1], [1.0])])
    assert none.f1 == 0.0
