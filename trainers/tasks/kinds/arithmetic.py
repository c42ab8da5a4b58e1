"""Sums, differences, products and doubles, small enough that a small model is right at times."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import ClassVar

from trainers.tasks.choosing import chosen, one_of
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import NumberAnswer


def number_problem(prompt: str, fact: str, right: int) -> Problem:
    """A problem with one number as its answer."""
    return Problem(prompt, fact, NumberAnswer(Decimal(right), prompt), str(right))


class TwoNumbers(PromptTask):
    """Base: a question about two numbers."""

    forms: ClassVar[tuple[str, ...]]

    def of(self, pairs: Iterable[tuple[int, int]], count: int) -> Iterator[Problem]:
        """A problem in each form for each of `count` pairs. Where the answer is one of the two
        numbers, to repeat the question would be to answer it."""
        fit = [pair for pair in pairs if self.right(*pair) not in pair]
        for a, b in chosen(fit, count, self.name):
            first, second = (a, b) if self.ordered or one_of((0, 1), self.name, a, b) else (b, a)
            for form in self.forms:
                prompt = form.format(a=first, b=second)
                yield number_problem(prompt, f"{a} {b}", self.right(a, b))

    ordered: ClassVar[bool] = False
    """Whether the question depends on the order of the two."""

    @abstractmethod
    def right(self, a: int, b: int) -> int:
        """The answer."""


class Sums(TwoNumbers):
    name = "sums"
    forms = (
        "What is {a} + {b}?",
        "What is {a} plus {b}? Answer with the number only.",
        "Add {a} and {b}. Answer with the number only.",
        "What is the sum of {a} and {b}?",
    )

    def right(self, a: int, b: int) -> int:
        return a + b

    def problems(self) -> Iterator[Problem]:
        yield from self.of(((a, b) for a in range(1, 21) for b in range(a, 21)), 200)


class Differences(TwoNumbers):
    name = "differences"
    ordered = True
    forms = (
        "What is {a} - {b}?",
        "What is {a} minus {b}? Answer with the number only.",
        "Subtract {b} from {a}. Answer with the number only.",
        "Tom has {a} marbles and gives away {b} of them. How many marbles are left?",
    )

    def right(self, a: int, b: int) -> int:
        return a - b

    def problems(self) -> Iterator[Problem]:
        yield from self.of(((a, b) for a in range(3, 21) for b in range(1, a)), 170)


class Products(TwoNumbers):
    name = "products"
    forms = (
        "What is {a} times {b}?",
        "What is {a} x {b}?",
        "Multiply {a} by {b}. Answer with the number only.",
    )

    def right(self, a: int, b: int) -> int:
        return a * b

    def problems(self) -> Iterator[Problem]:
        yield from self.of(((a, b) for a in range(2, 13) for b in range(a, 13)), 66)


class Doubles(PromptTask):
    name = "doubles"

    def problems(self) -> Iterator[Problem]:
        for number in range(3, 41):
            yield number_problem(f"What is double {number}?", f"double {number}", 2 * number)
            yield number_problem(f"What is half of {2 * number}?", f"half {number}", number)
