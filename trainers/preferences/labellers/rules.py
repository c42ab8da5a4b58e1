"""Rules: a score that a program can compute from the answer, and from a reference if there is one.

BLEU is Papineni et al. (2002), as sacrebleu computes it for one sentence (Post 2018,
arXiv:1804.08771); ROUGE is Lin (2004).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.base.messages import text_of
from trainers.base.settings import Settings
from trainers.preferences.labellers.protocol import Block, Labeller, LabellerSettings
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Verdict

NO_REFERENCE = "no reference to compare with"

Rule = Callable[[str, Sequence[str]], float]
"""The score of an answer's text, given the references."""


class RuleLabeller:
    """Scores each answer by a rule."""

    block = 1
    concurrency = 1

    def __init__(self, rule: Rule, *, needs_reference: bool) -> None:
        self._rule = rule
        self._needs_reference = needs_reference

    async def label(self, tasks: Block) -> list[Verdict]:
        return [self._verdict(task) for task in tasks]

    def _verdict(self, task: Listwise) -> Verdict:
        if self._needs_reference and not task.references:
            return Verdict(dropped={NO_REFERENCE: 1})
        return Verdict(
            scores=tuple(self._rule(text_of(c.answer), task.references) for c in task.candidates)
        )


class BleuSettings(LabellerSettings):
    """Sentence BLEU (sacrebleu, 0 to 100) against the record's reference. Short
    answers are judged by the n-grams that they can have (effective order)."""

    type: Literal["bleu"]

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        yield RuleLabeller(self._rule(), needs_reference=True)

    def _rule(self) -> Rule:
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(effective_order=True)
        return lambda text, references: float(metric.sentence_score(text, list(references)).score)


class RougeSettings(LabellerSettings):
    """ROUGE F-measure (rouge-score, 0 to 1) against the record's reference; of
    several the best counts."""

    type: Literal["rouge"]
    measure: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    """Which n-grams count: single words, pairs, or the longest common run."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        yield RuleLabeller(self._rule(), needs_reference=True)

    def _rule(self) -> Rule:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([self.measure], use_stemmer=False)
        return lambda text, references: float(
            scorer.score_multi(list(references), text)[self.measure].fmeasure
        )


class ScoredPattern(Settings):
    """What an answer gets if the pattern is found in it."""

    pattern: str
    """A regular expression."""
    score: float = 1.0
    """Added once, however often it is found."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value


class RegexSettings(LabellerSettings):
    """The sum of the scores of all patterns that are found."""

    type: Literal["regex"]
    patterns: Annotated[tuple[ScoredPattern, ...], Field(min_length=1)]
    """All that are found add up."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        yield RuleLabeller(self._rule(), needs_reference=False)

    def _rule(self) -> Rule:
        patterns = [(re.compile(one.pattern), one.score) for one in self.patterns]
        return lambda text, _: sum(score for found, score in patterns if found.search(text))
