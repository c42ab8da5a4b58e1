"""OpenAI's ``text_similarity``: how alike two texts are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from pydantic import field_validator

from bon_common.grading.common_sequence import fuzzy_match
from bon_common.grading.ngrams import bleu, gleu, rouge, rouge_l
from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, abstained
from bon_gateway.verifiers.scored import ScoredSettings, scored
from bon_gateway.verifiers.template import LackingError, TemplateText, reads_calls, render
from bon_gateway.verifiers.verifier import LocalVerifier

LONGEST = 16_384
"""Longest text to compare, in characters: the time of some metrics is quadratic in it."""

METRICS: Mapping[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    **{f"rouge_{size}": partial(rouge, size=size) for size in range(1, 6)},
    "rouge_l": rouge_l,
}
REFUSED = {
    "meteor": "it needs a dictionary of synonyms; take rouge_l, or a function of your own",
    "cosine": "it needs a model that embeds; take fuzzy_match, or type: http",
}


class TextSimilaritySettings(ScoredSettings):
    """OpenAI's grader: how alike two texts are, as a score from 0 to 1. It abstains if a text has
    more than 16,384 characters."""

    type: Literal["text_similarity"]
    input: TemplateText
    """The text to grade, such as ``{{ sample.output_text }}``."""
    reference: TemplateText
    """The text to compare it with, such as ``{{ item.reference }}``."""
    evaluation_metric: Literal[
        "fuzzy_match",
        "bleu",
        "gleu",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ]
    """How to measure likeness. ``fuzzy_match`` is rapidfuzz's ratio of characters; ``rouge_*`` are
    F1. OpenAI's ``meteor`` and ``cosine`` are refused."""

    @field_validator("evaluation_metric", mode="before")
    @classmethod
    def _can_be_computed(cls, metric: Any) -> Any:
        if isinstance(metric, str) and metric in REFUSED:
            raise ValueError(f"{metric} is not computed here: {REFUSED[metric]}")
        return metric

    @property
    def scores(self) -> tuple[float, float]:
        return 0.0, 1.0

    def build(self, keys: FindKey) -> TextSimilarity:
        return TextSimilarity(self)


class TextSimilarity(LocalVerifier):
    inline = 256

    def __init__(self, settings: TextSimilaritySettings) -> None:
        super().__init__()
        self._settings = settings
        self.reads_calls = reads_calls(settings.input, settings.reference)
        self._measure = METRICS[settings.evaluation_metric]

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        settings = self._settings
        try:
            given = render(settings.input, request, answer, text)
            wanted = render(settings.reference, request, answer, text)
        except LackingError as lacking:
            return lacking.verdict()
        if max(len(given), len(wanted)) > LONGEST:
            return abstained("too_long")
        return scored(self._measure(given, wanted), settings.pass_threshold)
