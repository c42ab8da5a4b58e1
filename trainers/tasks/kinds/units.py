"""Units: how many of the smaller are in some of the larger."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import NumberAnswer

IN_ONE = (
    ("minutes", "hour", "hours", 60),
    ("seconds", "minute", "minutes", 60),
    ("hours", "day", "days", 24),
    ("days", "week", "weeks", 7),
    ("months", "year", "years", 12),
    ("years", "decade", "decades", 10),
    ("years", "century", "centuries", 100),
    ("inches", "foot", "feet", 12),
    ("feet", "yard", "yards", 3),
    ("centimeters", "meter", "meters", 100),
    ("meters", "kilometer", "kilometers", 1000),
    ("grams", "kilogram", "kilograms", 1000),
    ("cents", "dollar", "dollars", 100),
    ("eggs", "dozen", "dozen", 12),
    ("ounces", "pound", "pounds", 16),
    ("quarts", "gallon", "gallons", 4),
)
NAMES = frozenset(name for small, one, many, _ in IN_ONE for name in (small, one, many))
MOST = 12
"""The larger unit is asked up to this many times."""


class Units(PromptTask):
    name = "units"

    def problems(self) -> Iterator[Problem]:
        for small, one, many, factor in IN_ONE:
            for count in range(1, MOST + 1):
                if count == factor * count:
                    continue
                article = "an" if one == "hour" else "a"
                prompts = (
                    [f"How many {small} are in {article} {one}?", f"How many {small} is 1 {one}?"]
                    if count == 1
                    else [f"How many {small} are in {count} {many}?"]
                )
                for prompt in prompts:
                    check = NumberAnswer(
                        Decimal(factor * count).normalize(),
                        prompt,
                        # "There are 12 inches in 1 foot, and 3 feet are 36 inches."
                        also_given=frozenset({Decimal(1), Decimal(factor).normalize()}),
                        other_units=NAMES - {small},
                    )
                    yield Problem(prompt, f"{small} {one} {count}", check, str(factor * count))
