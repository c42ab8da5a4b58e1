"""Sentences with a form: how many, with a word or without it, with an end phrase, in a language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from trainers.tasks.choosing import listed, position
from trainers.tasks.forms import AllOf, AvoidsWord, EndsWith, HasWord, InLanguage, ProseAbout
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.text import ONES

SUBJECTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "the sea": ("sea", "ocean"), "the moon": ("moon",), "dogs": ("dog",), "cats": ("cat",),
        "winter": ("winter",), "bread": ("bread",), "trees": ("tree",), "rain": ("rain",),
        "school": ("school",), "music": ("music",), "mountains": ("mountain",),
        "books": ("book",), "trains": ("train",), "birds": ("bird",), "coffee": ("coffee",),
        "gardens": ("garden",), "rivers": ("river",), "horses": ("horse",), "snow": ("snow",),
        "bicycles": ("bicycle", "bike"), "bees": ("bee",), "apples": ("apple",),
        "the sun": ("sun",), "football": ("football",), "cheese": ("cheese",),
    }
)  # fmt: skip
"""What to write about, and a word for it that has to be there."""
AVOIDED = listed("the is and are of")
ENDS = ("That is all.", "Thank you for reading.", "The end.", "Good night!")
COMMON: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Spanish": frozenset(listed("el los las es una muy y por con del como pero se su al lo")),
        "French": frozenset(listed("le les est une et dans des du il elle nous qui pour avec sur")),
        "German": frozenset(listed("der das ist ein eine und im mit sind auf sie er nicht den")),
        "Italian": frozenset(listed("il gli e una che con della sono per di nel molto anche")),
        "English": frozenset(listed("the is and of to in that it are was with for on as this")),
    }
)
NATIVE: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Spanish": {"the sea": ("mar",), "dogs": ("perro",), "cats": ("gato",), "bread": ("pan",),
                    "the moon": ("luna",), "the sun": ("sol",), "books": ("libro",)},
        "French": {"the sea": ("mer",), "dogs": ("chien",), "cats": ("chat",), "bread": ("pain",),
                   "the moon": ("lune",), "the sun": ("soleil",), "books": ("livre",)},
        "German": {"the sea": ("meer",), "dogs": ("hund", "hunde"), "cats": ("katze", "katzen"),
                   "bread": ("brot",), "the moon": ("mond",), "the sun": ("sonne",),
                   "books": ("buch", "bucher")},
        "Italian": {"the sea": ("mare",), "dogs": ("cane", "cani"), "cats": ("gatto", "gatti"),
                    "bread": ("pane",), "the moon": ("luna",), "the sun": ("sole",),
                    "books": ("libro", "libri")},
    }
)  # fmt: skip
"""The words for the subjects, as `plain` has them: without accents."""


EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "Spanish": "Me gusta el {word} y los demás lo saben muy bien.",
        "French": "Nous parlons avec elle dans la {word} pour rire.",
        "German": "Ich sehe den {word} und er ist nicht weit.",
        "Italian": "Sono nel {word} e anche di sera rido molto.",
    }
)
PARTS = (
    "Many people enjoy {subject} every day.",
    "I often think about {subject} at night.",
    "My sister draws {subject} with her pencils.",
    "We discussed {subject} during lunch.",
    "Nobody here dislikes {subject}.",
    "You learn much from {subject} when young.",
    "An artist painted {subject} for us.",
    "They sing songs on {subject} in spring.",
)
WITH_WORD: Mapping[str, str] = MappingProxyType(
    {
        "blue": "I painted {subject} on a blue wall.",
        "happy": "My happy memories begin with {subject}.",
        "old": "An old man told us stories of {subject}.",
        "quiet": "On quiet days I think about {subject}.",
        "green": "She wrote about {subject} in a green book.",
        "warm": "On warm evenings we talk about {subject}.",
        "small": "A small child asked me about {subject}.",
        "long": "We had a long talk about {subject}.",
        "people": "Many people enjoy {subject} every day.",
        "water": "I think about {subject} when I drink water.",
    }
)


def some_parts(subject: str, count: int, place: str) -> str:
    """`count` different sentences about the subject, others for another `place`."""
    start = int(position("examples", subject, place) * len(PARTS))
    chosen = (PARTS[(start + step) % len(PARTS)] for step in range(count))
    return " ".join(chosen).format(subject=subject)


class NumberOfSentences(PromptTask):
    name = "number-of-sentences"

    def problems(self) -> Iterator[Problem]:
        for subject, said in SUBJECTS.items():
            for count in (1, 2, 3, 4):
                noun = "sentence" if count == 1 else "sentences"
                prompt = f"Write exactly {ONES[count]} {noun} about {subject}."
                check = ProseAbout(said, prompt, least=count, most=count)
                example = some_parts(subject, count, str(count))
                yield Problem(prompt, f"{subject} {count}", check, example)


class WordToUse(PromptTask):
    name = "word-to-use"

    def problems(self) -> Iterator[Problem]:
        for subject, said in SUBJECTS.items():
            for word in WITH_WORD:
                prompt = f'Write one sentence about {subject} that contains the word "{word}".'
                check = AllOf((ProseAbout(said, prompt, most=1), HasWord(word)))
                example = WITH_WORD[word].format(subject=subject)
                yield Problem(prompt, f"{subject} {word}", check, example)


class WordToAvoid(PromptTask):
    name = "word-to-avoid"

    def problems(self) -> Iterator[Problem]:
        for subject, said in SUBJECTS.items():
            for word in AVOIDED:
                prompt = (
                    f"Write one or two sentences about {subject}. "
                    f'Do not use the word "{word}" anywhere.'
                )
                check = AllOf((ProseAbout(said, prompt, most=2), AvoidsWord(word)))
                # "the sea" without "the".
                about = said[0] if word in subject.split() else subject
                example = some_parts(about, 1, word)
                yield Problem(prompt, f"{subject} {word}", check, example)


class EndPhrase(PromptTask):
    name = "end-phrase"

    def problems(self) -> Iterator[Problem]:
        for subject, said in SUBJECTS.items():
            for end in ENDS:
                prompt = f'Write one sentence about {subject}, then end with exactly: "{end}"'
                check = EndsWith(end, ProseAbout(said, prompt, most=2))
                example = f"{some_parts(subject, 1, end)} {end}"
                yield Problem(prompt, f"{subject} {end}", check, example)


class Languages(PromptTask):
    name = "languages"
    natural_example = False  # The articles are not always those of the noun.

    def problems(self) -> Iterator[Problem]:
        for language, subjects in NATIVE.items():
            for subject, said in subjects.items():
                for prompt in (
                    f"Write one sentence about {subject} in {language}.",
                    f"In {language}, say something about {subject}. Answer in {language} only.",
                ):
                    check = AllOf((ProseAbout(said, prompt), InLanguage(COMMON, language)))
                    example = EXAMPLES[language].format(word=said[0])
                    yield Problem(prompt, f"{language} {subject}", check, example)
