"""Answers in capital letters, or in small ones: the right answer to a short question."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import chosen
from trainers.tasks.forms import InCase
from trainers.tasks.kinds.calendar import DAYS, MONTHS
from trainers.tasks.kinds.capitals import CAPITALS, WITH_ARTICLE
from trainers.tasks.kinds.counting import single_words
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer


class LetterCase(PromptTask):
    name = "letter-case"

    def problems(self) -> Iterator[Problem]:
        questions = [
            (f"What is the capital of {country}?", capital, tuple(CAPITALS.values()))
            for country, capital in chosen(CAPITALS.items(), 60, self.name)
            if country not in WITH_ARTICLE
        ]
        questions += [
            (f"Which one comes after {name}?", after, tuple(names))
            for names in (DAYS, MONTHS)
            for name, after in zip(names, [*names[1:], names[0]], strict=True)
        ]
        for question, right, others in questions:
            for capitals, kind in ((True, "capital"), (False, "lowercase")):
                prompt = f"{question} Answer in {kind} letters only."
                check = InCase(WordAnswer((right,), prompt, rivals=others), capitals)
                yield Problem(prompt, question, check, right.upper() if capitals else right.lower())
        for word in chosen(single_words(), 120, self.name, "words"):
            prompt = f'Write the word "{word}" in capital letters.'
            yield Problem(prompt, word, InCase(WordAnswer((word,), prompt)), word.upper())
