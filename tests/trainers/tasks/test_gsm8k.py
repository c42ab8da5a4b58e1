"""GSM8K: the truth out of a file, and the result of an answer that reasons."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from trainers.base.errors import DataError
from trainers.tasks.gsm8k import is_right, questions

FOLDER = Path(os.environ.get("BON_REAL_DATA", "nowhere"))


@pytest.mark.parametrize(
    "answer",
    ["18", "16 - 3 - 4 = 9, and 9 * 2 = $18.", "She has 9 eggs.\n#### 18", "So 9.\nA: 18",
     "The answer is 18. That is 9 times 2.", "9 * 2 = <<9*2=18>>18 dollars", "**$18.00**",
     "She earns eighteen dollars."],
)  # fmt: skip
def test_a_right_result(answer: str) -> None:
    assert is_right(answer, Decimal(18))


@pytest.mark.parametrize(
    "answer",
    ["", "eggs", "9", "18 or 20", "It is 17 or 18", "17, 18", "#### 17\n#### 18",
     "The answer is 18. The answer is 19.", "18 eggs make 36 dollars", "#### 18, 19", "1,8"],
)  # fmt: skip
def test_another_result_or_several(answer: str) -> None:
    assert not is_right(answer, Decimal(18))


def test_a_line_without_a_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k.jsonl"
    path.write_text(json.dumps({"question": "How many?", "answer": "Ten.\n#### 1,010"}) + "\n")
    assert questions(path) == {"How many?": Decimal(1010)}
    path.write_text(json.dumps({"question": "How many?", "answer": "Ten."}) + "\n")
    with pytest.raises(DataError, match=r"gsm8k.jsonl:1: answer: no `#### N` at its end"):
        questions(path)


def test_published_verdicts() -> None:
    """Every recorded answer is judged as its publishers judged it."""
    truth, recorded = FOLDER / "gsm8k-test.jsonl", FOLDER / "gsm8k-model-solutions.jsonl"
    if not truth.exists() or not recorded.exists():
        pytest.skip("BON_REAL_DATA names no folder with GSM8K")
    known = questions(truth)
    differs, total = [], 0
    for line in recorded.read_text().splitlines():
        record = json.loads(line)
        for one in (value for value in record.values() if isinstance(value, dict)):
            total += 1
            found = is_right(one["solution"], known[record["question"].strip()])
            differs += [one["solution"]] if found != one["is_correct"] else []
    assert total == 5276
    assert differs == []
