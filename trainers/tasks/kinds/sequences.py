"""The next number of a sequence."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import one_of
from trainers.tasks.kinds.arithmetic import number_problem
from trainers.tasks.problem import Problem, PromptTask

FORMS = (
    "What number comes next: {seen}, ...?",
    "Which number comes next in the sequence {seen}? Answer with one number.",
    "Continue with one number: {seen}",
)


class NumberSequences(PromptTask):
    name = "sequences"

    def problems(self) -> Iterator[Problem]:
        steps = [(start, step) for start in range(1, 41) for step in (1, 2, 3, 4, 5, 6, 10)]
        for start, step in steps:
            yield self._problem([start + step * place for place in range(5)])
        falling = [(start, step) for start in range(42, 101, 2) for step in (1, 2, 3, 5, 10)]
        for start, step in falling:
            yield self._problem([start - step * place for place in range(5)])
        for start in range(1, 13):
            yield self._problem([start * 2**place for place in range(5)])

    def _problem(self, numbers: list[int]) -> Problem:
        *seen, right = numbers
        text = ", ".join(map(str, seen))
        return number_problem(one_of(FORMS, self.name, text).format(seen=text), text, right)
