"""Counting: the letters of a word, one letter in a word, the things in a list."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import chosen, one_of
from trainers.tasks.kinds.arithmetic import number_problem
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.vocabulary import GROUPS, THINGS, plural

MOST = 9


def single_words() -> list[str]:
    """Every known word, once."""
    return sorted({*THINGS, *(word for group in GROUPS.values() for word in group)})


class LettersOfAWord(PromptTask):
    name = "letters-of-a-word"

    def problems(self) -> Iterator[Problem]:
        for word in chosen(single_words(), 220, self.name):
            prompt = f'How many letters are in the word "{word}"?'
            yield number_problem(prompt, word, len(word))


class OneLetter(PromptTask):
    """How often a letter is in a word: at least once, so that "none" is no safe answer."""

    name = "one-letter"

    def problems(self) -> Iterator[Problem]:
        for word in chosen(single_words(), 220, self.name):
            # The letters that are there twice are worth asking for.
            often = sorted(set(word), key=lambda letter: (-word.count(letter), letter))
            letter = one_of(often[:2], self.name, word)
            prompt = f'How many times is the letter "{letter}" in the word "{word}"?'
            yield number_problem(prompt, word, word.count(letter))


class ThingsInAList(PromptTask):
    name = "things-in-a-list"

    def problems(self) -> Iterator[Problem]:
        names = [name for name, group in GROUPS.items() if len(group) > MOST]
        wanted = [(name, count, turn) for name in names for count in range(2, 9) for turn in (1, 2)]
        for name, count, turn in wanted:
            listed = ", ".join(chosen(GROUPS[name], count, self.name, name, count, turn))
            prompt = one_of(
                (
                    f"How many {plural(name)} are in this list: {listed}?",
                    f"Count the words: {listed}. Answer with the number only.",
                ),
                self.name,
                listed,
            )
            yield number_problem(prompt, listed, count)
