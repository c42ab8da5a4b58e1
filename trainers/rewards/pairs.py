"""Pairs that a reward model is measured on, and both of their rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import AliasChoices, Field

from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation, Message, Pair, VerifiableRecord, read_placed
from trainers.base.errors import DataError
from trainers.rewards.accuracy import ScoredPair
from trainers.rewards.answers import AnswerScorer


class SectionPair(Pair, VerifiableRecord):
    """A pair that may belong to a section."""

    section: str | None = Field(None, validation_alias=AliasChoices("section", "subset"))


PlacedPair = tuple[str, SectionPair]
"""With its `file:line`."""


def scored_pairs(scorer: AnswerScorer, path: Path, bad: BadLines | None = None) -> list[ScoredPair]:
    """Both rewards of every pair of a file, in its order; `bad` as in `with_rewards`."""
    return scored(scorer, read_placed(SectionPair, path, bad), bad)


def scored(
    scorer: AnswerScorer, pairs: Sequence[PlacedPair], bad: BadLines | None = None
) -> list[ScoredPair]:
    """Both rewards of every pair; `bad` as in `with_rewards`."""
    both = with_rewards(scorer, pairs, lambda pair: (pair.chosen, pair.rejected), bad)
    return [
        ScoredPair(chosen, rejected, pair.margin, pair.section) for pair, (chosen, rejected) in both
    ]


class Prompted(Protocol):
    """What `with_rewards` needs of a record."""

    @property
    def asked(self) -> Conversation: ...


Line = TypeVar("Line", bound=Prompted)


def with_rewards(
    scorer: AnswerScorer,
    records: Sequence[tuple[str, Line]],
    answers: Callable[[Line], Sequence[list[Message]]],
    bad: BadLines | None = None,
) -> list[tuple[Line, list[float]]]:
    """Each record with the rewards of its answers; `bad` may count, and leave out, those that the
    reward model cannot read. Raises DataError if none is left."""
    if bad is not None and bad.skip:
        records = _readable(scorer, records, answers, bad)
    asked = [
        (where, one.asked.answered(answer)) for where, one in records for answer in answers(one)
    ]
    rewards = iter(scorer.rewards(asked))
    return [(one, [next(rewards) for _ in answers(one)]) for _, one in records]


def _readable(
    scorer: AnswerScorer,
    records: Sequence[tuple[str, Line]],
    answers: Callable[[Line], Sequence[list[Message]]],
    bad: BadLines,
) -> list[tuple[str, Line]]:
    kept = []
    for where, one in records:
        with bad.tried():
            for answer in answers(one):
                scorer.require((where, one.asked.answered(answer)))
            kept.append((where, one))
    if not kept:
        raise DataError(f"{records[0][0]}: no record is left, {bad.count} bad lines were skipped")
    return kept
