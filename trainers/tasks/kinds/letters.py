"""The first and the last letter of a word, and the letters of the alphabet in order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from string import ascii_lowercase

from trainers.tasks.choosing import chosen
from trainers.tasks.kinds.counting import single_words
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer

WORDS_TOO = frozenset("ai")
"""Letters that are words of their own: in a sentence, they may mean nothing."""


def letter_problem(prompt: str, fact: str, right: str) -> Problem:
    """A problem with one letter as its answer."""
    others = tuple(letter for letter in ascii_lowercase if letter != right)
    return Problem(prompt, fact, WordAnswer((right,), prompt, rivals=others), right)


class FirstLetters(PromptTask):
    name = "first-letters"

    def problems(self) -> Iterator[Problem]:
        for word in chosen(single_words(), 300, self.name):
            for place, letter in (("first", word[0]), ("last", word[-1])):
                if letter not in WORDS_TOO:
                    prompt = f'What is the {place} letter of the word "{word}"?'
                    yield letter_problem(prompt, word, letter)


class Alphabet(PromptTask):
    name = "alphabet"

    def problems(self) -> Iterator[Problem]:
        for before, after in pairwise(ascii_lowercase):
            if not WORDS_TOO & {before, after}:
                asked = f"Which letter comes after {before.upper()} in the alphabet?"
                yield letter_problem(asked, before + after, after)
                asked = f"Which letter comes before {after.upper()} in the alphabet?"
                yield letter_problem(asked, before + after, before)
