"""What another choice among an arm's own candidates would have got: random choice, and the oracle.

Random choice shows what choosing is worth at all, the oracle what is left for a better reward
model. Both are exact for the candidates at hand: the mean of their scores, and the highest. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_gateway.compare.figures.material import TOO_MANY_LOST, Material, worst_scores
from bon_gateway.compare.settings import SELECTION
from bon_gateway.compare.types import ArmRecord


@dataclass(frozen=True)
class ChoiceColumns:
    """One value for each paired prompt."""

    random: Sequence[float]
    oracle: Sequence[float]
    unknown: int
    """Answers whose candidates have no scores. They are left out."""


def choice_columns(material: Material, arm: str) -> ChoiceColumns | None:
    """As ``quality_column`` counts: a failed request is the worst answer of its prompt, and a
    prompt whose candidates are unknown gets the mean. None for an arm of one candidate, or if the
    candidates of too many answers are unknown."""
    primary = material.settings.quality.primary
    worst = worst_scores(material, primary)
    anywhere = min(worst.values(), default=None)
    records = material.records[arm]
    pools = {r.key: candidate_scores(material, r) for r in records if r.ok}
    unknown = sum(not pool for pool in pools.values())
    widest = max(map(len, pools.values()), default=0)
    if anywhere is None or widest < 2 or unknown > TOO_MANY_LOST * len(records):
        return None
    random: list[float | None] = []
    oracle: list[float | None] = []
    for prompt, asked in zip(material.prompts, material.by_prompt(arm), strict=True):
        lost = worst.get(prompt, anywhere)
        known = [pools[r.key] if r.ok else [lost] for r in asked]
        random.append(_mean_of([fmean(pool) for pool in known if pool]))
        oracle.append(_mean_of([max(pool) for pool in known if pool]))
    return ChoiceColumns(_filled(random), _filled(oracle), unknown)


def candidate_scores(material: Material, record: ArmRecord) -> list[float]:
    """The primary scores of a request's finished candidates, as far as they are known."""
    primary = material.settings.quality.primary
    found: list[float | None] = []
    for candidate in record.candidates:
        if candidate.status not in ("finished", "truncated"):
            continue
        if primary == SELECTION:
            found.append(candidate.reward)
        elif candidate.text is not None:
            found.append(material.scores.get(primary, record.key.prompt, candidate.text))
    return [score for score in found if score is not None]


def _mean_of(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _filled(column: Sequence[float | None]) -> list[float]:
    mean = fmean(value for value in column if value is not None)
    return [mean if value is None else value for value in column]
