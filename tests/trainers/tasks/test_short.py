"""Short answers: strict about what is right, tolerant about how it is said, and never fooled."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trainers.tasks.catalogue import catalogue
from trainers.tasks.short import NumberAnswer, WordAnswer

SUM = NumberAnswer(Decimal(8), "What is 3 + 5?")
CAPITAL = catalogue()["What is the capital of France?"].problem.check
OPPOSITE = catalogue()['What is the opposite of "hot"?'].problem.check
LARGER = WordAnswer(
    ("71",), "Which number is larger, 17 or 71?", choices=("17",), comparatives=("larger",)
)
INCHES = catalogue()["How many inches are in 3 feet?"].problem.check
NEXT = NumberAnswer(Decimal(10), "What number comes next: 2, 4, 6, 8, ...?")


@pytest.mark.parametrize(
    "answer",
    [
        "8", "8.", " 8\n", "**8**", "8.0", "eight", "Eight.", "$8$", "\\(3 + 5 = 8\\)",
        "3 + 5 = 8", "3 + 5 is 8.", "The answer is 8.", "The sum of 3 and 5 is 8.",
        "Sure! 3 plus 5 equals 8.", "8 is the answer, which is the sum of 3 and 5.",
    ],
)  # fmt: skip
def test_a_right_number(answer: str) -> None:
    assert SUM(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "", "7", "-8", "8.5", "88", "35", "3 5", "The answer is 3", "3 + 8 = 5", "5 + 3 = 53",
        "7 or 8", "8 or 9", "8, 9", "7 8", "8 9 10", "seven eight", "eight nine", "8, 3", "8\n5",
        "The answer is 8. No, 9.", "between 7 and 8", "not 8", "maybe 8",
        "The answer is 8. The answer is 3.", "6 7 8 9", "8 or 5",
    ],
)  # fmt: skip
def test_a_wrong_number_or_several(answer: str) -> None:
    assert not SUM(answer)


def test_a_sequence_may_be_repeated_and_not_continued() -> None:
    assert NEXT("2, 4, 6, 8, 10")
    assert NEXT("10")
    assert not NEXT("10, 12, 14")
    assert not NEXT("8, 10")


def test_the_unit_has_to_be_the_one_that_was_asked_for() -> None:
    assert INCHES("36 inches")
    assert INCHES("There are 12 inches in 1 foot, so 3 feet are 36 inches.")
    assert not INCHES("36 feet")
    assert not INCHES("12 inches")


@pytest.mark.parametrize(
    "answer",
    [
        "Paris", "paris.", "**Paris**", "1. Paris", "Answer: Paris", "It's Paris!",
        "The capital of France is Paris.", "Paris is the capital of France.",
        "Sure! The capital is Paris.", "What is the capital of France? Paris",
        "The capital city of France is Paris, a beautiful city in Europe.",
        "The capital of France is Paris, which is known for art.",
        "Paris. It is known for the Eiffel Tower.",
    ],
)  # fmt: skip
def test_a_right_name(answer: str) -> None:
    assert CAPITAL(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "", "London", "France", "Parisian", "Paris or London", "Paris, London", "Paris and Lyon",
        "Paris London", "Paris/London", "Paris. London. Berlin.", "London. Paris.",
        "Paris, Lyon, Marseille", "Paris Blorp", "Not Paris", "I think Paris, maybe Lyon",
        "The capital of France is not Paris.", "The capital of France is Paris, or London.",
        "Paris! Actually, London.", "Lyon is big. Paris is the capital.", "1. Paris\n2. Nice",
        "Paris\nNice\nCannes", "It is Lyon, the capital is Paris",
    ],
)  # fmt: skip
def test_a_wrong_name_or_several(answer: str) -> None:
    assert not CAPITAL(answer)


def test_an_opposite_is_one_word() -> None:
    assert OPPOSITE("cold")
    assert OPPOSITE('The opposite of "hot" is "cold".')
    for several in (
        "cold, icy",
        "cold icy warm",
        "cold, hot",
        "Cold. Icy. Cool.",
        "cold or warm",
        "hot",
    ):
        assert not OPPOSITE(several)


@pytest.mark.parametrize(
    "answer",
    ["71", "71 is larger than 17.", "The larger number is 71.", "71 > 17",
     "The larger of 17 and 71 is 71.", "Between 17 and 71, the larger is 71."],
)  # fmt: skip
def test_a_right_choice(answer: str) -> None:
    assert LARGER(answer)


@pytest.mark.parametrize(
    "answer",
    ["17", "17 71", "71 17", "71, 17", "71\n17", "17 or 71", "71 and 17", "17 is larger than 71",
     "71 is smaller than 17", "71 is not larger than 17", "17 > 71", "of 17 and 71", ""],
)  # fmt: skip
def test_a_wrong_choice_or_both(answer: str) -> None:
    assert not LARGER(answer)


SECOND_GUESSES = ("{0} or {1}", "{0}, {1}", "{1}, {0}", "{0}\n{1}", "{1}. {0}.", "not {0}")


def test_no_second_guess_makes_an_answer_right() -> None:
    """Over all tasks with short answers: the right answer with another one of its kind."""
    short = [
        one
        for one in catalogue().values()
        if isinstance(one.problem.check, NumberAnswer | WordAnswer)
    ]
    assert len(short) > 3000
    fooled = []
    for one, other in zip(short[::5], short[1::5], strict=False):
        right, wrong = one.problem.example, other.problem.example
        if one.task != other.task or one.problem.check(wrong):
            continue
        tried = [form.format(right, wrong) for form in SECOND_GUESSES]
        fooled += [(one.problem.prompt, text) for text in tried if one.problem.check(text)]
    assert fooled == []
