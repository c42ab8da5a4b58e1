"""All tasks together: no prompt twice, no fact on both sides, and a split that never moves."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

import pytest

from trainers.preferences.split import normalised
from trainers.tasks.catalogue import catalogue, placed, side_of_fact
from trainers.tasks.problem import PromptTask
from trainers.tasks.registry import TASKS
from trainers.tasks.short import WordAnswer
from trainers.tasks.text import plain, words

PROBLEMS = placed(TASKS)


def test_there_are_thousands_to_train_on_and_hundreds_held_out() -> None:
    counts = Counter(one.side for one in PROBLEMS)
    assert counts["train"] > 5000
    assert counts["held-out"] > 1000
    assert min(Counter((one.task, one.side) for one in PROBLEMS).values()) >= 8


def test_no_prompt_is_there_twice() -> None:
    counts = Counter(one.problem.prompt for one in PROBLEMS)
    assert [prompt for prompt, count in counts.items() if count > 1] == []
    assert len(catalogue()) == len(PROBLEMS)


def test_no_prompt_is_on_both_sides_even_in_other_punctuation() -> None:
    """Differences of capitals and punctuation are none to `prepare` either; "3 - 5" and "3 + 5"
    are words to it alone."""
    sides = defaultdict(set)
    for one in PROBLEMS:
        if one.task not in ("sums", "differences"):
            said = normalised([{"role": "user", "content": one.problem.prompt}])
            sides[said].add(one.side)
    assert [said for said, found in sides.items() if len(found) > 1] == []


def test_no_fact_is_on_both_sides() -> None:
    sides = defaultdict(set)
    for one in PROBLEMS:
        sides[one.task, one.problem.fact].add(one.side)
    assert all(len(found) == 1 for found in sides.values())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_example_is_right_and_the_prompt_is_no_answer(task: PromptTask) -> None:
    problems = list(task.problems())
    assert [one.prompt for one in problems if not one.check(one.example)] == []
    assert [one.prompt for one in problems if one.check(one.prompt) or one.check("")] == []
    assert [one.prompt for one in problems if one.prompt != one.prompt.strip()] == []


def test_the_split_is_the_same_in_every_release() -> None:
    """If this fails, held-out prompts of the last release may be training prompts of this one."""
    assert side_of_fact("sums", "3 5") == "held-out"
    assert side_of_fact("capitals", "France") == "held-out"
    listed = "\n".join(sorted(one.problem.prompt for one in PROBLEMS if one.side == "held-out"))
    assert hashlib.sha256(listed.encode()).hexdigest()[:16] == "758c158770c9888e"


def test_no_right_word_is_one_that_answers_are_wrapped_in() -> None:
    from trainers.tasks.short import FILLERS, HEDGES

    found = [
        one.problem.prompt
        for one in PROBLEMS
        if isinstance(one.problem.check, WordAnswer)
        for right in one.problem.check.right
        if (FILLERS | HEDGES).issuperset(words(plain(right)))
    ]
    assert found == []


def test_every_task_has_its_own_name() -> None:
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names) >= 20
