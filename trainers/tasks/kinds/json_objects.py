"""JSON objects with given keys, whose values the prompt says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trainers.tasks.choosing import chosen, listed, one_of
from trainers.tasks.forms import JsonObject
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.vocabulary import GROUPS

PEOPLE = listed(
    """
    Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mia Noah Olivia Paul Rosa Sam
    Tina Victor
    """
)


class JsonObjects(PromptTask):
    name = "json-objects"

    def problems(self) -> Iterator[Problem]:
        for person in PEOPLE:
            for least in range(5, 80, 15):
                age = least + one_of(range(15), self.name, person, least)
                text = f"{person} is {age} years old."
                yield self._problem(text, {"name": person, "age": age})
            for color in chosen(GROUPS["color"], 4, self.name, person):
                text = f"{person} likes the color {color}."
                yield self._problem(text, {"name": person, "color": color})
            for animal in chosen(GROUPS["animal"], 4, self.name, person):
                age = one_of(range(2, 15), self.name, person, animal)
                text = f"{person} has a {animal} that is {age} years old."
                yield self._problem(text, {"owner": person, "animal": animal, "age": age})

    def _problem(self, text: str, values: dict[str, Any]) -> Problem:
        *first, last = (f'"{key}"' for key in values)
        keys = f"{', '.join(first)} and {last}"
        prompt = f"{text} Write this as a JSON object with the keys {keys}. Answer with JSON only."
        return Problem(prompt, text, JsonObject(values), json.dumps(values))
