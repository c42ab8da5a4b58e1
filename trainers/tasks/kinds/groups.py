"""Which kind a thing is, and which thing is of a kind. The choices stand in the prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trainers.tasks.choosing import chosen, listed, one_of
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer
from trainers.tasks.vocabulary import GROUPS

CLEAR = listed(
    """
    fruit vegetable animal bird tool vehicle instrument sport furniture color shape planet
    """
)
CLOSE = (frozenset({"animal", "bird"}), frozenset({"fruit", "vegetable"}))
"""Never offered together."""
UNCLEAR = frozenset(
    listed(
        """
        date file diamond star gold silver rat mouse tomato pumpkin saw drum cricket crane running
        lime cherry teal lavender violet earth peach orange turquoise maroon
        """
    )
)
"""Words with a second sense that makes another choice right too."""


def article(word: str) -> str:
    """A or an."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def clear_words(group: str) -> list[str]:
    """The words that are in this group alone."""
    counted = Counter(word for words in GROUPS.values() for word in words)
    return [word for word in GROUPS[group] if counted[word] == 1 and word not in UNCLEAR]


def unlike(group: str) -> list[str]:
    """The groups that no word of this one could be said to belong to."""
    return [
        other
        for other in CLEAR
        if other != group and not any({group, other} <= both for both in CLOSE)
    ]


class KindOfThing(PromptTask):
    name = "kind-of-thing"

    def problems(self) -> Iterator[Problem]:
        for group in CLEAR:
            for word in clear_words(group):
                other = one_of(unlike(group), self.name, word)
                first, second = chosen((group, other), 2, self.name, "order", word)
                prompt = f'Is "{word}" the name of {article(first)} or {article(second)}?'
                prompt = prompt.replace("a furniture", "a piece of furniture")
                yield Problem(prompt, word, WordAnswer((group,), prompt, choices=(other,)), group)


class ThingOfKind(PromptTask):
    name = "thing-of-kind"

    def problems(self) -> Iterator[Problem]:
        for group in CLEAR:
            for word in clear_words(group):
                others = chosen(unlike(group), 3, self.name, word)
                wrong = tuple(one_of(clear_words(one), self.name, word, one) for one in others)
                listed = ", ".join(chosen((word, *wrong), 4, self.name, "order", word))
                named = "a piece of furniture" if group == "furniture" else article(group)
                prompt = f"Which of these is {named}: {listed}?"
                yield Problem(prompt, word, WordAnswer((word,), prompt, choices=wrong), word)
