"""Which recorded candidates count, as columns of numbers. Pure.

Only candidates that might win and have a reward count. A request with fewer than ``at_least`` of
them is left out and counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.selection.extract.tool_calls import called
from bon_common.settings.errors import SettingsError
from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool
from bon_gateway.strategies.conversation import answer_text
from bon_gateway.strategies.extract import CandidateAnswer, FindAnswer
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.types import CandidateStatus


@dataclass(frozen=True)
class JudgedPool:
    """The candidates of one request in the order in which they were drawn, one entry each."""

    rewards: Sequence[float]
    golds: Sequence[float] | None
    tokens: Sequence[int]
    finished: Sequence[bool]
    """A truncated candidate wins only if no candidate finished."""
    ranks: Sequence[float]
    """By ``finished`` and then by reward: the larger wins, equal ones are equally good."""
    characters: Sequence[int]
    """Of the answer's text."""
    texts: Sequence[str]
    """What the answer says and calls."""
    answers: Sequence[str | None] | None
    """Final answers; None without a way to find them."""
    partials: Sequence[Mapping[int, float]]
    """Rewards of the beginnings of the answer, by their tokens."""

    @property
    def size(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True)
class CalibrationPrompts:
    """What is calibrated on. Prompts, and not requests, are the units of folds and intervals."""

    pools: Sequence[Sequence[JudgedPool]]
    """For each prompt the pools of its requests."""
    folds: Sequence[int]
    """Each prompt's part, counted from 0."""
    halves: Sequence[int]
    """For each prompt 0 or 1: where a guarantee begins, and what tests it."""
    with_gold: bool
    left_out: Mapping[str, int]
    """Requests, by why."""
    requests: int

    @property
    def smallest(self) -> int:
        return min(pool.size for own in self.pools for pool in own)

    def column(self, value: Callable[[JudgedPool], float]) -> list[float]:
        """For each prompt the mean of ``value`` over its pools."""
        return [fmean([value(pool) for pool in own]) for own in self.pools]


def calibration_prompts(found: PoolSet, settings: CalibrateSettings) -> CalibrationPrompts:
    """Raises SettingsError where the pools cannot be calibrated on."""
    find = None if settings.extract is None else settings.extract.build()
    left_out: Counter[str] = Counter(found.other_requests)
    kept: list[tuple[PromptPool, list[RecordedCandidate]]] = []
    for pool in found.pools:
        scored = [one for one in pool.usable if _reward(one, settings.chosen_by) is not None]
        if len(scored) < settings.at_least:
            left_out[f"with fewer than {settings.at_least} candidates with a reward"] += 1
        else:
            kept.append((pool, scored))
    if not kept:
        raise SettingsError("pools", "", _nothing_left(found, settings))
    kept, with_gold = _by_gold(kept, settings, left_out)
    prompts: dict[bytes, list[JudgedPool]] = {}
    for pool, scored in kept:
        judged = _judged(pool, scored, settings.chosen_by, find, with_gold=with_gold)
        prompts.setdefault(pool.prompt, []).append(judged)
    if len(prompts) < 2:
        raise SettingsError("pools", "", "hold one prompt alone; a calibration needs two or more")
    return CalibrationPrompts(
        [*prompts.values()],
        folds=_parts(len(prompts), min(settings.folds, len(prompts)), f"{settings.seed} folds"),
        halves=_parts(len(prompts), 2, f"{settings.seed} halves"),
        with_gold=with_gold,
        left_out=left_out,
        requests=found.requests,
    )


def _parts(prompts: int, count: int, seed: str) -> list[int]:
    """Parts of equal sizes, but for one prompt, in random order."""
    parts = [place % count for place in range(prompts)]
    random.Random(seed).shuffle(parts)
    return parts


def _nothing_left(found: PoolSet, settings: CalibrateSettings) -> str:
    many = sum(len(pool.usable) >= settings.at_least for pool in found.pools)
    if not many:
        return (
            f"no request has {settings.at_least} finished or truncated candidates: record with"
            " best_of_n and a larger n"
        )
    if settings.chosen_by is None:
        return "no request has candidates with rewards: record with a reward model"
    names = sorted({name for p in found.pools for one in p.usable for name in one.rewards})
    known = f"known: {', '.join(names)}" if names else "the candidates have no other rewards"
    return f"no request has candidates with the reward {settings.chosen_by!r}; {known}"


Kept = list[tuple[PromptPool, list[RecordedCandidate]]]


def _by_gold(kept: Kept, settings: CalibrateSettings, left_out: Counter[str]) -> tuple[Kept, bool]:
    """The requests to calibrate on, and whether by gold."""
    labelled = [(p, own) for p, own in kept if all(one.gold is not None for one in own)]
    if settings.gold == "ignored":
        return kept, False
    if settings.gold == "labelled":
        if not labelled:
            told = f"no request has gold for all its candidates{_half_judged(kept)}"
            raise SettingsError("pools", "gold", told)
        left_out["without gold for all candidates"] += len(kept) - len(labelled)
        return labelled, True
    if len(labelled) == len(kept):
        return kept, True
    if any(one.gold is not None for _, own in kept for one in own):
        raise SettingsError(
            "pools", "gold", f"only {len(labelled)} of {len(kept)} requests have gold for all"
            f" their candidates{_half_judged(kept)}: --gold labelled leaves out the others, --gold"
            " ignored reads none",
        )  # fmt: skip
    return kept, False


def _half_judged(kept: Kept) -> str:
    """The first request of whose candidates some have gold and some have none."""
    for pool, own in kept:
        judged = sum(one.gold is not None for one in own)
        if 0 < judged < len(own):
            return f", and {pool.place} has it for {judged} of {len(own)}"
    return ""


def _reward(one: RecordedCandidate, name: str | None) -> float | None:
    return one.reward if name is None else one.rewards.get(name)


def _judged(
    pool: PromptPool,
    scored: Sequence[RecordedCandidate],
    name: str | None,
    find: FindAnswer | None,
    *,
    with_gold: bool,
) -> JudgedPool:
    rewards = [reward for one in scored if (reward := _reward(one, name)) is not None]
    finished = [one.status is CandidateStatus.FINISHED for one in scored]
    worths = [*zip(finished, rewards, strict=True)]
    places = {worth: place for place, worth in enumerate(sorted(set(worths)))}
    prefill = Prefill.of(pool.request)
    said = [_said(one, prefill) for one in scored]
    # Partial rewards are those of the reward model that served.
    partials: list[Mapping[int, float]] = [
        dict(one.partial_rewards) if name is None else {} for one in scored
    ]
    return JudgedPool(
        rewards=rewards,
        golds=[one.gold or 0.0 for one in scored] if with_gold else None,
        tokens=[one.tokens for one in scored],
        finished=finished,
        ranks=[float(places[worth]) for worth in worths],
        characters=[len(one.text) for one in said],
        texts=["\n".join(filter(None, (one.text, called(one.calls)))) for one in said],
        answers=None if find is None else [*map(find, said)],
        partials=partials,
    )


def _said(one: RecordedCandidate, prefill: Prefill | None) -> CandidateAnswer:
    message = one.message or {}
    return CandidateAnswer(answer_text(message, None, prefill), message.get("tool_calls") or ())
