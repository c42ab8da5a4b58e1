"""Checks of an answer's form: lists, sentences, letters, JSON, endings, languages.

Each wants something to be said in that form: prose has to be about its subject and may not repeat
itself, a list has to name things of the kind. An empty shell of the form is wrong.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from trainers.tasks.text import phrase_at, plain, sentences, words

LEAST_WORDS = 4
MOST_WORDS = 60
MOST_COPIED = 5
"""Words in a row that may be the prompt's."""
LEAST_NEW = 0.6
"""Share of the words that are said for the first time."""
_MARKER = re.compile(r"^\s*(?:\d{1,2}[.):]|[-*•+\u2013])\s+")
_INTRO = re.compile(r":\W*$")
_FENCE = re.compile(r"^```[a-z]*\n(.*?)\n?```$", re.DOTALL)


@dataclass(frozen=True)
class ProseAbout:
    """Whole sentences about a subject."""

    subject: tuple[str, ...]
    """One of them has to be there, in the singular or the plural."""
    prompt: str
    least: int = 1
    most: int = 3
    """Sentences."""

    def __call__(self, text: str) -> bool:
        parts = sentences(text.strip())
        said = words(plain(text))
        if not self.least <= len(parts) <= self.most:
            return False
        if not all(part[-1] in ".!?\"'" and len(words(part)) >= LEAST_WORDS for part in parts):
            return False
        new = len(set(said)) / len(said)
        if len(said) > MOST_WORDS or new < LEAST_NEW or len({*map(plain, parts)}) < len(parts):
            return False
        about = {form for word in self.subject for form in (word, f"{word}s", f"{word}es")}
        return bool(about & set(said)) and not self._copies(said)

    def _copies(self, said: list[str]) -> bool:
        asked = words(plain(self.prompt))
        width = MOST_COPIED + 1
        runs = (asked[start : start + width] for start in range(len(asked) - width + 1))
        return any(phrase_at(said, run) is not None for run in runs)


@dataclass(frozen=True)
class AllOf:
    """Every check holds."""

    checks: tuple[Callable[[str], bool], ...]

    def __call__(self, text: str) -> bool:
        return all(check(text) for check in self.checks)


@dataclass(frozen=True)
class HasWord:
    """The word is there, as it is or in the plural."""

    word: str

    def __call__(self, text: str) -> bool:
        return not {self.word, f"{self.word}s"}.isdisjoint(words(plain(text)))


@dataclass(frozen=True)
class AvoidsWord:
    """The word is nowhere, and its plural is not."""

    word: str

    def __call__(self, text: str) -> bool:
        return {self.word, f"{self.word}s"}.isdisjoint(words(plain(text)))


@dataclass(frozen=True)
class EndsWith:
    """The text ends with exactly this phrase, and what stands before it is right."""

    phrase: str
    before: Callable[[str], bool]

    def __call__(self, text: str) -> bool:
        text = text.strip()
        return text.endswith(self.phrase) and self.before(text.removesuffix(self.phrase))


@dataclass(frozen=True)
class ListOf:
    """A line for each of `count` different things of the group, and nothing behind them."""

    count: int
    group: Collection[str]

    def __call__(self, text: str) -> bool:
        lines = [line for line in text.strip().splitlines() if line.strip()]
        if lines and _INTRO.search(lines[0]) and not _MARKER.match(lines[0]):
            lines = lines[1:]
        named = [self._thing(_MARKER.sub("", line)) for line in lines]
        return len(lines) == self.count and None not in named and len({*named}) == self.count

    def _thing(self, line: str) -> str | None:
        """What the line names, if it names one thing and no more."""
        said = words(plain(line))
        things = {thing for thing in self.group if thing in said or f"{thing}s" in said}
        return things.pop() if len(things) == 1 and len(said) <= 2 else None


@dataclass(frozen=True)
class JsonObject:
    """A JSON object with these keys and values and no others, alone or in a code block."""

    values: Mapping[str, Any]

    def __call__(self, text: str) -> bool:
        fenced = _FENCE.match(text.strip())
        try:
            found = json.loads(fenced[1] if fenced else text, object_pairs_hook=list)
        except (ValueError, RecursionError):
            return False
        if not isinstance(found, list) or not all(isinstance(one, tuple) for one in found):
            return False
        # A key that is there twice is an answer with two values.
        return (
            len(found) == len(self.values)
            and all(key in self.values and _equal(value, self.values[key]) for key, value in found)
            and len({key for key, _ in found}) == len(found)
        )


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(found, str) and plain(found) == plain(wanted)
    return type(found) is type(wanted) and bool(found == wanted)


@dataclass(frozen=True)
class InCase:
    """The right answer, with no small letter; or with no capital one."""

    right: Callable[[str], bool]
    capitals: bool = True

    def __call__(self, text: str) -> bool:
        return self.right(text) and (text.isupper() if self.capitals else text.islower())


@dataclass(frozen=True)
class InLanguage:
    """At least `LEAST_COMMON` of the language's common words are there, and hardly any of another
    language's."""

    common: Mapping[str, Collection[str]]
    """Common words of each language. One that two languages share tells nothing."""
    language: str

    LEAST_COMMON: ClassVar[int] = 2

    @cached_property
    def _telling(self) -> Mapping[str, frozenset[str]]:
        counted = Counter(word for known in self.common.values() for word in known)
        return {
            language: frozenset(word for word in known if counted[word] == 1)
            for language, known in self.common.items()
        }

    def __call__(self, text: str) -> bool:
        said = set(words(plain(text)))
        counts = {language: len(said & known) for language, known in self._telling.items()}
        own = counts.pop(self.language)
        return own >= self.LEAST_COMMON and own > 2 * sum(counts.values())
