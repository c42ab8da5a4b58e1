"""The records and scores of a run by arm and prompt, and the columns of figures. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, mode

from bon_gateway.compare.ask.schedule import WARM_UP
from bon_gateway.compare.ask.scoring import KnownScores
from bon_gateway.compare.figures.economics import TokenPrices, Tokens, cost, per_token
from bon_gateway.compare.settings import SELECTION, ArmSettings, CompareSettings
from bon_gateway.compare.statistics import Resamples
from bon_gateway.compare.types import ArmRecord

TOO_MANY_LOST = 0.05
"""Share of an arm's requests, failed or unscored, above which its means cannot be trusted."""


@dataclass(frozen=True)
class Material:
    """Everything that figures are made of. A column has one value for each paired prompt."""

    settings: CompareSettings
    records: Mapping[str, Sequence[ArmRecord]]
    """By arm, of paired prompts, without the warm-up."""
    prompts: Sequence[int]
    """The paired prompts, which every arm was asked, in the order of every column."""
    scores: KnownScores
    resamples: Resamples

    def by_prompt(self, arm: str) -> list[list[ArmRecord]]:
        found: dict[int, list[ArmRecord]] = defaultdict(list)
        for record in self.records[arm]:
            found[record.key.prompt].append(record)
        return [found[prompt] for prompt in self.prompts]

    def score(self, scorer: str, record: ArmRecord) -> float | None:
        """The score of an answered request's winner."""
        if scorer == SELECTION:
            return record.reward
        return self.scores.get(scorer, record.key.prompt, record.text)


def material(
    settings: CompareSettings, records: Sequence[ArmRecord], scores: KnownScores
) -> Material:
    """Keeps the prompts that every arm was asked, so that all figures are paired."""
    measured = [r for r in records if r.key.phase != WARM_UP and r.key.arm in settings.arms]
    asked = {arm: {r.key.prompt for r in measured if r.key.arm == arm} for arm in settings.arms}
    paired = sorted(set.intersection(*asked.values()))
    by_arm = {
        arm: [r for r in measured if r.key.arm == arm and r.key.prompt in set(paired)]
        for arm in settings.arms
    }
    resamples = Resamples(
        max(1, len(paired)), settings.resamples, settings.confidence, settings.seed
    )
    return Material(settings, by_arm, paired, scores, resamples)


def prices(settings: CompareSettings, arm: ArmSettings) -> TokenPrices:
    read, generated = per_token(arm.policy_price or settings.prices.policy)
    scored, _ = per_token(arm.reward_price or settings.prices.reward)
    return TokenPrices(read, generated, scored)


def tokens_of(record: ArmRecord) -> Tokens:
    """Of a request: all its candidates' together."""
    return Tokens(record.prompt_tokens, record.completion_tokens, record.reward_tokens)


def quality_column(material: Material, arm: str, scorer: str) -> list[float] | None:
    """The mean score at each prompt. A failed request counts as the worst score that any arm has
    at its prompt, or anywhere if there is none there. Answers without a score are left out, and a
    prompt without any score gets the arm's mean. None if the arm has no score at all."""
    worst = worst_scores(material, scorer)
    anywhere = min(worst.values(), default=None)
    if anywhere is None or not any(
        r.ok and material.score(scorer, r) is not None for r in material.records[arm]
    ):
        return None
    column: list[float | None] = []
    for prompt, records in zip(material.prompts, material.by_prompt(arm), strict=True):
        values = [
            material.score(scorer, record) if record.ok else worst.get(prompt, anywhere)
            for record in records
        ]
        known = [value for value in values if value is not None]
        column.append(fmean(known) if known else None)
    mean = fmean(value for value in column if value is not None)
    return [mean if value is None else value for value in column]


def worst_scores(material: Material, scorer: str) -> dict[int, float]:
    """At each prompt, of all arms."""
    worst: dict[int, float] = {}
    for records in material.records.values():
        for record in records:
            value = material.score(scorer, record) if record.ok else None
            if value is not None:
                prompt = record.key.prompt
                worst[prompt] = min(value, worst.get(prompt, math.inf))
    return worst


def cost_column(material: Material, arm: str) -> list[float] | None:
    """Money for an answered request at each prompt; the arm's mean where the tokens are not known.
    None if they are known nowhere, or the policy has no price."""
    chosen = material.settings.arms[arm]
    if (chosen.policy_price or material.settings.prices.policy) is None:
        return None
    price = prices(material.settings, chosen)
    per_prompt = [
        [cost(tokens_of(record), price) for record in records if record.metered]
        for records in material.by_prompt(arm)
    ]
    paid = [value for values in per_prompt for value in values]
    if not paid:
        return None
    return [fmean(values) if values else fmean(paid) for values in per_prompt]


def typical_n(records: Sequence[ArmRecord]) -> int:
    """The N of most answers."""
    sizes = [record.n for record in records if record.ok]
    return mode(sizes) if sizes else 1
