"""The larger or the smaller of two numbers."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import chosen, one_of
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer

FORMS = (
    "Which number is {word}, {a} or {b}?",
    "Which is {word}: {a} or {b}? Answer with the number only.",
    "Tell me the {word} of the numbers {a} and {b}.",
)


class LargerOfTwo(PromptTask):
    name = "larger"

    def problems(self) -> Iterator[Problem]:
        pairs = ((a, b) for a in range(2, 200) for b in range(a + 1, 200) if b - a < 40)
        for a, b in chosen(pairs, 1200, self.name):
            word = one_of(("larger", "smaller"), self.name, "word", a, b)
            right, wrong = (b, a) if word == "larger" else (a, b)
            first, second = (a, b) if one_of((0, 1), self.name, "order", a, b) else (b, a)
            prompt = one_of(FORMS, self.name, "form", a, b).format(word=word, a=first, b=second)
            check = WordAnswer(
                (str(right),),
                prompt,
                choices=(str(wrong),),
                comparatives=("larger", "bigger", "greater", "more", "higher")
                if word == "larger"
                else ("smaller", "less", "lower"),
            )
            yield Problem(prompt, f"{a} {b}", check, str(right))
