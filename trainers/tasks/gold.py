"""The truth of all prompts with a known one, as the function that `gold` names.

`gold: {function: "trainers.tasks.gold:correct"}` judges answers to the generated prompts; with
`file: FILE` also those to the questions of a GSM8K file.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainers.base.data import Message
from trainers.base.errors import DataError
from trainers.tasks.catalogue import PlacedProblem, catalogue
from trainers.tasks.gsm8k import is_right, known_questions

SHOWN = 60
"""Characters of a prompt in an error."""


def correct(messages: Sequence[Message], answer: str, file: str | None = None) -> float:
    """1 if `answer` is right as the reply to the last message of the user, else 0.

    Raises DataError if no task has that prompt: a missing truth is no wrong answer.
    """
    prompt = last_prompt(messages)
    problem = problem_of(prompt)
    if problem is not None:
        return float(problem.problem.check(answer))
    known = {} if file is None else known_questions(file)
    if prompt.strip() not in known:
        raise DataError(f"gold: no task has the prompt {prompt[:SHOWN]!r}")
    return float(is_right(answer, known[prompt.strip()]))


def last_prompt(messages: Sequence[Message]) -> str:
    """The last message of the user."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def problem_of(prompt: str) -> PlacedProblem | None:
    """The problem with this prompt, its task and its side."""
    return catalogue().get(prompt.strip())
