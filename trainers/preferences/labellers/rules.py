"""Rules: a score that a program can compute from the answer, and from a reference if there is one.

BLEU is Papineni et al. (2002), as sacrebleu computes it for one sentence (Post 2018,
arXiv:1804.08771); ROUGE is Lin (2004).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trainers.base.messages import text_of
from trainers.preferences.label_settings import RegexSettings, RougeSettings
from trainers.preferences.labellers.protocol import Block
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


def bleu() -> RuleLabeller:
    """0 to 100. Short answers are judged by the n-grams that they can have (effective order)."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    return RuleLabeller(
        lambda text, references: float(metric.sentence_score(text, list(references)).score),
        needs_reference=True,
    )


def rouge(settings: RougeSettings) -> RuleLabeller:
    """The F-measure, 0 to 1; of several references the best counts."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([settings.measure], use_stemmer=False)
    return RuleLabeller(
        lambda text, references: float(
            scorer.score_multi(list(references), text)[settings.measure].fmeasure
        ),
        needs_reference=True,
    )


def regex(settings: RegexSettings) -> RuleLabeller:
    """The scores of all patterns that are found anywhere in the answer."""
    patterns = [(re.compile(one.pattern), one.score) for one in settings.patterns]

    def rule(text: str, _: Sequence[str]) -> float:
        return sum(score for found, score in patterns if found.search(text))

    return RuleLabeller(rule, needs_reference=False)
