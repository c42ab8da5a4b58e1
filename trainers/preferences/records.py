"""Preferences in three forms, as readers make them and writers take them.

pairwise   one answer is better than another
pointwise  one answer has a score
listwise   several answers to one prompt, scored or not

`inputs` is what stands beside the prompt: tools, and variables of the chat template. `metadata` is
for verifiers, such as the expected answer; it is no part of the prompt.

`as_json` of each is the canonical line that the trainers and the readers take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.base.data import Conversation, Message
from trainers.base.template_inputs import NO_INPUTS, TemplateInputs


@dataclass(frozen=True)
class Pairwise:
    """Two answers to one prompt, the preferred one first."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    margin: float | None = None
    """How much better chosen is, if that is known."""
    subset: str | None = None
    """The section of a benchmark that the pair belongs to."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    """For each dimension 1 if chosen is better, -1 if rejected is, 0 for neither."""
    inputs: TemplateInputs = NO_INPUTS
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        answers = {"chosen": self.chosen, "rejected": self.rejected}
        return {"prompt": self.prompt, **answers, **self._rest()}

    def as_conversations(self) -> dict[str, Any]:
        """Chosen and rejected as whole conversations, without a prompt beside them."""
        chosen, rejected = self.prompt + self.chosen, self.prompt + self.rejected
        return {"chosen": chosen, "rejected": rejected, **self._rest()}

    def _rest(self) -> dict[str, Any]:
        preferences = dict(self.dimensions) or None
        known = _known(margin=self.margin, subset=self.subset, preferences=preferences)
        return known | _beside(self)


@dataclass(frozen=True)
class Pointwise:
    """One answer with its score; higher is better."""

    prompt: list[Message]
    answer: list[Message]
    score: float
    dimensions: Mapping[str, float] = field(default_factory=dict)
    """A score for each dimension, if they are known; `score` is then their mean."""
    inputs: TemplateInputs = NO_INPUTS
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        line = {"prompt": self.prompt, "answer": self.answer, "score": self.score}
        return line | _known(scores=dict(self.dimensions) or None) | _beside(self)


@dataclass(frozen=True)
class ListedAnswer:
    """One of several answers to a prompt."""

    answer: list[Message]
    score: float | None = None
    """Higher is better. Scores that came from ranks only give an order."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Its origin, as far as known: policy, revision, temperature, seed, finish_reason."""
    dimensions: Mapping[str, float] = field(default_factory=dict)
    """A score for each dimension, if they are known."""

    def as_json(self) -> dict[str, Any]:
        scores = dict(self.dimensions) or None
        return {"answer": self.answer} | _known(score=self.score, scores=scores) | dict(self.source)


@dataclass(frozen=True)
class Listwise:
    """Several answers to one prompt. Equal scores are ties."""

    prompt: list[Message]
    candidates: tuple[ListedAnswer, ...]
    ordinal: bool = False
    """The scores are negated ranks, so their differences are no margins."""
    references: tuple[str, ...] = ()
    """Model answers that a rule can compare with."""
    subset: str | None = None
    inputs: TemplateInputs = NO_INPUTS
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pooled: bool = field(default=False, compare=False)
    """Its answers were records of their own."""

    def as_json(self) -> dict[str, Any]:
        known = _known(
            ordinal=self.ordinal or None,
            reference=list(self.references) or None,
            subset=self.subset,
        )
        candidates = [candidate.as_json() for candidate in self.candidates]
        return {"prompt": self.prompt, "candidates": candidates, **known, **_beside(self)}


Preference = Pairwise | Pointwise | Listwise


def asked(preference: Preference) -> Conversation:
    """The prompt with what stands beside it."""
    return Conversation(preference.prompt, preference.inputs, preference.metadata)


def _beside(preference: Preference) -> dict[str, Any]:
    return {key: value for key, value in asked(preference).as_json().items() if key != "prompt"}


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
