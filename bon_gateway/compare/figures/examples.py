"""Answers of two arms side by side, the largest wins and losses first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bon_common.judging.conversation import conversation_text
from bon_gateway.compare.figures.material import Material, worst_scores
from bon_gateway.compare.figures.results import Answer, Arm, Example, Examples
from bon_gateway.compare.greedy import greedy_of
from bon_gateway.compare.types import ArmRecord

SHOWN = 4
"""Wins, and as many losses."""
LONGEST = 2000
"""Characters of a text that are shown."""


def example_pairs(material: Material, arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """The widest base arm against greedy decoding, and each tuned policy against the widest base
    arm; without a greedy arm against the arm ``against``."""
    against = material.settings.against
    base = [arm for arm in arms if arm.training is None and not arm.greedy and arm.answered]
    pairs = []
    widest = max(base, key=lambda arm: arm.n, default=None)
    if widest is not None:
        pairs.append((widest.name, greedy_of(material.settings, widest.name) or against))
    pairs += [
        (arm.name, against if widest is None else widest.name)
        for arm in arms
        if arm.training is not None and arm.answered
    ]
    return [pair for pair in pairs if pair[0] != pair[1]]


def examples(
    material: Material, pair: tuple[str, str], prompts: Sequence[Sequence[Mapping[str, Any]]]
) -> Examples | None:
    """None if no request was scored for both."""
    ours, theirs = pair
    worst = worst_scores(material, material.settings.quality.primary)
    others = {r.key._replace(arm=ours): r for r in material.records[theirs]}
    found: list[Example] = []
    for record in material.records[ours]:
        other = others.get(record.key)
        if other is None or record.key.prompt >= len(prompts):
            continue
        lost = worst.get(record.key.prompt)
        one, two = _answer(material, record, lost), _answer(material, other, lost)
        if one is not None and two is not None:
            found.append(Example(_shortened(_prompt(prompts[record.key.prompt])), one, two))
    if not found:
        return None
    ordered = sorted(found, key=_margin, reverse=True)
    won = [example for example in ordered if _margin(example) > 0]
    beaten = [example for example in ordered[::-1] if _margin(example) < 0]
    counts = (len(won), len(found) - len(won) - len(beaten), len(beaten))
    return Examples(ours, theirs, _distinct(won), _distinct(beaten), counts)


def _margin(example: Example) -> float:
    return example.ours.score - example.theirs.score


def _distinct(ordered: Sequence[Example]) -> tuple[Example, ...]:
    """The first of each prompt: repeats of one prompt would fill the page with one story."""
    first: dict[str, Example] = {}
    for example in ordered:
        first.setdefault(example.prompt, example)
    return tuple(first.values())[:SHOWN]


def _answer(material: Material, record: ArmRecord, lost: float | None) -> Answer | None:
    primary = material.settings.quality.primary
    score = material.score(primary, record) if record.ok else lost
    if score is None:
        return None
    return Answer(record.key.arm, _shortened(record.text) if record.ok else None, score)


def _prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """One message as it is, several with their roles."""
    if len(messages) == 1 and isinstance(messages[0].get("content"), str):
        return str(messages[0]["content"])
    return conversation_text(messages)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [{len(text)} characters]"
