"""Lists of exactly k things of a kind, one a line."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import one_of
from trainers.tasks.forms import ListOf
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.text import ONES
from trainers.tasks.vocabulary import GROUPS, plural

FORMS = (
    "List exactly {k} {things}, one per line, and nothing else.",
    "Name {k} {things}. Put each on a line of its own and write nothing else.",
    "Write a list of exactly {k} {things}. Use one line for each, without explanations.",
    "Give me {k} different {things} as a bulleted list with nothing else.",
)
WIDER = {"animal": "bird"}
"""What is of the second group is of the first one too."""


class Lists(PromptTask):
    name = "lists"

    def problems(self) -> Iterator[Problem]:
        for group in GROUPS:
            known = (*GROUPS[group], *GROUPS.get(WIDER.get(group, ""), ()))
            for count in range(2, 8):
                for form in FORMS:
                    number = one_of((str(count), ONES[count]), self.name, group, form)
                    prompt = form.format(k=number, things=plural(group))
                    example = "\n".join(known[:count])
                    yield Problem(prompt, f"{group} {count}", ListOf(count, known), example)
