"""Checks of short answers: a number, or a word or name.

An answer may be put in a sentence, may echo the question, and may say more after it. It has to
commit to one answer. What names several, hedges or takes back is wrong, even if the right one is
among them: a policy that is trained against the check must gain nothing by guessing twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property

from trainers.tasks.choosing import listed
from trainers.tasks.text import numbers, phrase_at, plain, sentences, words

HEDGES = frozenset(
    listed(
        """
        or either maybe perhaps not no might could possibly probably unsure both neither except
        wait actually sorry instead correction mistake alternatively otherwise guess unless
        """
    )
)
"""Words that take back an answer, or offer another one."""
FILLERS = frozenset(
    listed(
        """
        the a an is it its this that these are was were be would will answer correct right final
        so to of in for yes sure okay ok here heres thats therefore thus hence hello hi let lets
        see i im you your me my we think believe can say said called known as question result
        equals equal has have there which by one please certainly course simply just also
        assistant option name city word
        """
    )
)
"""Words that an answer may be wrapped in."""
_CLAIM = re.compile(r"(?:=|:|\b(?:is|are|be|equals|equal to|makes|gives|get|have|has|to))\s*$")
_SAYS_MORE = re.compile(r"[a-z=]")
_ASIDE = re.compile(
    r"\s*[,;\u2014\u2013-]+\s*(?=(?:which|where|who|a|an|the|because|since|as|located|known|with|so|being|"
    r"meaning|while|its|it)\b)|\s(?=(?:because|since|which|where|while)\s)"
)
_MARKER = re.compile(r"^\s*(?:1[.)]|[-•])\s+", re.MULTILINE)
LEAST_OF_A_SEQUENCE = 3
MOST_OF_A_NAME = 2
"""Words: a later sentence that is no longer is another answer, and not talk about the first."""


Phrase = tuple[str, ...]


@cache
def phrases(texts: tuple[str, ...]) -> tuple[Phrase, ...]:
    """The words of each text. Thousands of problems share one vocabulary."""
    return tuple(tuple(words(plain(text))) for text in texts)


@cache
def single_words(texts: tuple[str, ...]) -> frozenset[str]:
    """Those of the texts that are one word."""
    return frozenset(one[0] for one in phrases(texts) if len(one) == 1)


@dataclass(frozen=True)
class NumberAnswer:
    """One number, which the prompt does not name. Those of the prompt may be repeated."""

    right: Decimal
    prompt: str
    also_given: frozenset[Decimal] = frozenset()
    """Numbers that a sentence may hold although the prompt does not: the 1 of "a foot"."""
    other_units: frozenset[str] = frozenset()
    """Words that may not stand behind the answer: "12 feet" is no answer to "how many inches"."""

    @cached_property
    def _asked(self) -> list[Decimal]:
        return [one.value for one in numbers(plain(self.prompt))]

    @cached_property
    def _given(self) -> frozenset[Decimal]:
        return self.also_given.union(self._asked) - {self.right}

    def __call__(self, answer: str) -> bool:
        text = plain(answer)
        if HEDGES & set(words(text)):
            return False
        found = numbers(text)
        said = [one.value for one in found]
        if set(said) - self._given != {self.right}:
            return False
        if (
            not _SAYS_MORE.search(text)
            and len(set(said)) > 1
            and not (len(self._asked) >= LEAST_OF_A_SEQUENCE and said[:-1] == self._asked)
        ):
            return False  # A bare list; but to go on with the question's sequence is none.
        claims = [one.value for one in found if _CLAIM.search(text[: one.start])]
        if claims and claims[-1] != self.right:
            return False  # "3 + 8 = 5" names the sum of 3 and 5, and says that it is 5.
        behind = (words(text[one.end :])[:1] for one in found if one.value == self.right)
        return not any(self.other_units.intersection(word) for word in behind)


@dataclass(frozen=True)
class WordAnswer:
    """A word or a name. The first sentence that says more than the question has to be the answer
    alone, but for words of the question and fillers."""

    right: tuple[str, ...]
    """Every accepted form."""
    prompt: str
    rivals: tuple[str, ...] = ()
    """Other answers of the kind. The prompt's own words are none, unless they are `choices`."""
    choices: tuple[str, ...] = ()
    """The wrong ones among the choices that the prompt offers. None of them may be named, but as
    the lesser in a comparison."""
    comparatives: tuple[str, ...] = ()
    """`larger`: "71 is larger than 17" is an answer."""

    @cached_property
    def _rights(self) -> list[list[str]]:
        return [words(plain(one)) for one in sorted(self.right, key=len, reverse=True)]

    @property
    def _kind(self) -> frozenset[str]:
        """Single words of the kind that is asked for."""
        return single_words(self.rivals)

    @cached_property
    def _wrong(self) -> tuple[frozenset[str], list[Phrase]]:
        """What may not be said: single words, and longer names."""
        asked = set(words(plain(self.prompt)))
        found = {one for one in phrases(tuple(self.rivals)) if not asked.issuperset(one)}
        found = (found - {tuple(one) for one in self._rights}).union(phrases(self.choices))
        single = frozenset(one[0] for one in found if len(one) == 1)
        return single, sorted(one for one in found if len(one) > 1)

    @cached_property
    def _allowed(self) -> frozenset[str]:
        choices = {word for choice in self.choices for word in words(plain(choice))}
        return (FILLERS | set(words(plain(self.prompt)))) - choices - HEDGES

    def __call__(self, answer: str) -> bool:
        text = self._without_echo(_MARKER.sub("", plain(answer)))
        said = words(text)
        for right in self._rights:
            # "Mexico City" names no rival "Mexico".
            said = _without(said, right)
        single, longer = self._wrong
        if (HEDGES | single) & set(said) or any(phrase_at(said, one) is not None for one in longer):
            return False
        if said and self._kind.issuperset(said):
            return False  # A bare list of the right one and of what the question names.
        told = [one for one in sentences(text) if not self._says_nothing(words(one))]
        return bool(told) and self._commits(told[0]) and not any(map(self._offers, told[1:]))

    def _says_nothing(self, said: list[str]) -> bool:
        """ "Sure!", or the question again."""
        return not set(said) - self._allowed and not self._names_it(said)

    def _offers(self, sentence: str) -> bool:
        """Whether a later sentence or line is another answer: "Cold. Icy. Cool." """
        return len(words(sentence)) <= MOST_OF_A_NAME and not self._commits(sentence)

    def _commits(self, sentence: str) -> bool:
        """Whether the sentence, or all of it before an aside, is the answer."""
        return any(self._is_it(words(part)) for part in (_ASIDE.split(sentence)[0], sentence))

    def _names_it(self, said: list[str]) -> bool:
        return any(phrase_at(said, right) is not None for right in self._rights)

    def _is_it(self, said: list[str]) -> bool:
        rest = said
        for right in self._rights:
            rest = _without(rest, right)
        return self._names_it(said) and not set(rest) - self._allowed

    def _without_echo(self, text: str) -> str:
        """Without what names the choices again: "of 17 and 71", "71 is larger than 17"."""
        if not self.choices:
            return text
        both = "|".join(re.escape(plain(one)) for one in (*self.right, *self.choices))
        listed = rf"\b(?:of|between|from|out of|among)(?: the numbers| the words)?:? (?:{both})"
        text = re.sub(rf"{listed}(?:(?:,? (?:and|or) |, )(?:{both}))+(?=[\s,.:]|$)", " ", text)
        for right in map(plain, self.right):
            for wrong in map(plain, self.choices):
                for word in self.comparatives:
                    is_more = rf"(?: is)?(?: the| much)? {word} than "
                    than = rf"\b{re.escape(right)}{is_more}{re.escape(wrong)}\b"
                    text = re.sub(than, right, text)
                text = re.sub(rf"\b{re.escape(right)} > {re.escape(wrong)}\b", right, text)
        return text


def _without(said: list[str], phrase: list[str]) -> list[str]:
    """The words without the phrase, wherever it stands."""
    start = phrase_at(said, phrase)
    while start is not None:
        said = [*said[:start], *said[start + len(phrase) :]]
        start = phrase_at(said, phrase)
    return said
