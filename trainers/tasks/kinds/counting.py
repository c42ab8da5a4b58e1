"""Counting: the letters of a word, one letter in a word, the things in a list."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from trainers.tasks.choosing import chosen, one_of
from trainers.tasks.kinds.arithmetic import number_problem
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.vocabulary import GROUPS, THINGS, plural

MOST = 9
"""Things in the longest list, and more."""
LISTS = 8
"""Of each group and length."""


def single_words() -> list[str]:
    """Every known word, once."""
    return sorted({*THINGS, *(word for group in GROUPS.values() for word in group)})


class LettersOfAWord(PromptTask):
    name = "letters-of-a-word"

    def problems(self) -> Iterator[Problem]:
        for word in single_words():
            prompt = f'How many letters are in the word "{word}"?'
            yield number_problem(prompt, word, len(word))


class OneLetter(PromptTask):
    """How often a letter is in a word: at least once, so that "none" is no safe answer."""

    name = "one-letter"

    def problems(self) -> Iterator[Problem]:
        for word in single_words():
            # The letters that are there twice are worth asking for.
            often = sorted(set(word), key=lambda letter: (-word.count(letter), letter))
            letter = one_of(often[:2], self.name, word)
            prompt = f'How many times is the letter "{letter}" in the word "{word}"?'
            yield number_problem(prompt, word, word.count(letter))


class ThingsInAList(PromptTask):
    name = "things-in-a-list"

    def problems(self) -> Iterator[Problem]:
        names = [name for name, group in GROUPS.items() if len(group) > MOST]
        # Keys, so that a list that is chosen twice is there once.
        lists = {
            ", ".join(chosen(GROUPS[name], count, self.name, name, count, turn)): (name, count)
            for name, count, turn in product(names, range(2, MOST), range(1, LISTS + 1))
        }
        for listed, (name, count) in lists.items():
            prompt = one_of(
                (
                    f"How many {plural(name)} are in this list: {listed}?",
                    f"Count the words: {listed}. Answer with the number only.",
                ),
                self.name,
                listed,
            )
            yield number_problem(prompt, listed, count)
