"""`bon-train label` by rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import (
    read_lines,
)
from tests.trainers.preferences.labelling import (
    answers,
    label,
    report,
    texts_of,
)


@pytest.mark.parametrize(
    ("labeller", "expected"),
    [
        ({"type": "bleu"}, [("the little bear has a red kite", "bears")]),
        ({"type": "rouge"}, [("the little bear has a red kite", "bears")]),
        ({"type": "rouge", "measure": "rouge2"}, [("the little bear has a red kite", "bears")]),
        (
            {"type": "regex", "patterns": [{"pattern": "bears$", "score": 2}, {"pattern": "red"}]},
            [("bears", "no")],
        ),
    ],
)
def test_rules(tmp_path: Path, labeller: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    answers(
        tmp_path,
        ["bears", "the little bear has a red kite", "no"],
        reference="the little bear has a kite",
    )
    assert label(tmp_path, labeller) == 0
    assert texts_of(tmp_path / "out.jsonl") == expected


def test_the_scores_of_rules_are_those_of_their_libraries(tmp_path: Path) -> None:
    answers(tmp_path, ["the cat sat", "a dog ran"], reference=["the cat sat down", "it sat"])
    assert label(tmp_path, {"type": "rouge", "measure": "rouge1"}, form="listwise") == 0
    scores = [c["score"] for c in read_lines(tmp_path / "out.jsonl")[0]["candidates"]]
    assert scores == pytest.approx([6 / 7, 0.0])  # precision 1, recall 3/4
    assert label(tmp_path, {"type": "bleu"}, "--overwrite", form="listwise") == 0
    scores = [c["score"] for c in read_lines(tmp_path / "out.jsonl")[0]["candidates"]]
    # All n-grams match, and the shorter reference is as near in length: no brevity penalty.
    assert scores[0] == pytest.approx(100)
    assert scores[1] < 20


def test_a_rule_without_its_reference_is_counted(tmp_path: Path) -> None:
    answers(tmp_path, ["a", "b"])
    assert label(tmp_path, {"type": "bleu"}) == 1
    assert report(tmp_path)["dropped"] == {"no reference to compare with": 1}
