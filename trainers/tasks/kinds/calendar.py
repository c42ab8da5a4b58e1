"""Days and months."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import listed
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer
from trainers.tasks.text import ONES

DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed(
    """
    January February March April May June July August September October November December
    """
)
PLACES = listed(
    """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    """
)
FORMS = (
    (1, "Which {unit} comes after {name}?"),
    (1, "What is the {unit} right after {name}?"),
    (-1, "Which {unit} comes before {name}?"),
    (-1, "What is the {unit} just before {name}?"),
)


class Calendar(PromptTask):
    name = "calendar"

    def problems(self) -> Iterator[Problem]:
        for unit, names in (("day", DAYS), ("month", MONTHS)):
            for place, name in enumerate(names):
                for step, form in FORMS:
                    prompt = form.format(unit=unit, name=name)
                    yield self._problem(prompt, f"{name} {step}", names, place + step)
                for step in (2, 3, 4):
                    prompt = f"Which {unit} is {ONES[step]} {unit}s after {name}?"
                    yield self._problem(prompt, f"{name} {step}", names, place + step)
        for place, spoken in enumerate(PLACES):
            prompt = f"What is the {spoken} month of the year?"
            yield self._problem(prompt, f"month {place}", MONTHS, place)

    def _problem(self, prompt: str, fact: str, names: tuple[str, ...], place: int) -> Problem:
        right = names[place % len(names)]
        return Problem(prompt, fact, WordAnswer((right,), prompt, rivals=names), right)
