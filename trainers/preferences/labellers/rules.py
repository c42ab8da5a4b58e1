"""Rules: scores that a program computes from the answer, and from a reference if there is one.

BLEU is Papineni et al. (2002), as sacrebleu computes it for one sentence (Post 2018,
arXiv:1804.08771); ROUGE is Lin (2004).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from trainers.base.messages import text_of
from trainers.base.settings import Settings
from trainers.preferences.labellers.base import Block, LabelBlock, Labeller
from trainers.preferences.labels import Label
from trainers.preferences.records import Listwise

NO_REFERENCE = "no reference to compare with"

Rule = Callable[[str, Sequence[str]], float]
"""The score of an answer's text, given the references."""


class RuleLabeller(Labeller):
    """Scores each answer by a rule."""

    needs_reference: ClassVar[bool] = True

    @abstractmethod
    def rule(self) -> Rule:
        """The rule; here, and not with its module, it imports what computes it."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[LabelBlock]:
        rule = self.rule()

        async def label(tasks: Block) -> list[Label]:
            return [self._label(rule, task) for task in tasks]

        yield label

    def _label(self, rule: Rule, task: Listwise) -> Label:
        if self.needs_reference and not task.references:
            return Label(dropped={NO_REFERENCE: 1})
        return Label(tuple(rule(text_of(c.answer), task.references) for c in task.candidates))


class BleuLabeller(RuleLabeller):
    """Sentence BLEU (sacrebleu, 0 to 100) against the record's reference. Short
    answers are judged by the n-grams that they can have (effective order)."""

    type: Literal["bleu"]

    def rule(self) -> Rule:
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(effective_order=True)
        return lambda text, references: float(metric.sentence_score(text, list(references)).score)


class RougeLabeller(RuleLabeller):
    """ROUGE F-measure (rouge-score, 0 to 1) against the record's reference, the best one if there
    are several."""

    type: Literal["rouge"]
    measure: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    """Which n-grams count: single words, pairs, or the longest common run."""

    def rule(self) -> Rule:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([self.measure], use_stemmer=False)
        return lambda text, references: float(
            scorer.score_multi(list(references), text)[self.measure].fmeasure
        )


class ScoredPattern(Settings):
    """A pattern, and what an answer gets if it is found there."""

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


class RegexLabeller(RuleLabeller):
    """The sum of the scores of all patterns that are found."""

    needs_reference = False

    type: Literal["regex"]
    patterns: Annotated[tuple[ScoredPattern, ...], Field(min_length=1)]
    """All that are found add up."""

    def rule(self) -> Rule:
        patterns = [(re.compile(one.pattern), one.score) for one in self.patterns]
        return lambda text, _: sum(score for found, score in patterns if found.search(text))
