"""Thresholds whose accepted answers are seldom bad, with a guarantee. Pure.

One half of the prompts says where to begin, the other tests thresholds from there downwards (Learn
then Test with a fixed sequence, arXiv:2110.01052; thresholds for best-of-N: arXiv:2510.04087). The
guarantee: with the confidence, over which prompts happened to be in the testing half, at most the
share ``risk`` of the answers accepted later are bad. It assumes that later prompts come from where
these come from (exchangeable), with the same policy, sampling and reward model, and says nothing of
answers that no threshold accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.calibration.risk import certified, risk_bound
from bon_gateway.calibrate.figures.good_enough import thresholds_of, wave_run
from bon_gateway.calibrate.figures.results import Guarantee
from bon_gateway.calibrate.pools import CalibrationPrompts


@dataclass(frozen=True)
class Demand:
    """What shall be guaranteed."""

    good: float
    """Gold from which an answer is good."""
    risk: float
    """Largest share of accepted answers that may be bad."""
    confidence: float


def good_from(prompts: CalibrationPrompts, given: float | None) -> float | None:
    """Gold from which an answer is good: ``given``, or the larger of two values of gold."""
    if not prompts.with_gold:
        return None
    values = {gold for own in prompts.pools for pool in own for gold in pool.golds or ()}
    return max(values) if given is None and len(values) == 2 else given


def guarantee(
    name: str,
    prompts: CalibrationPrompts,
    waves: Waves,
    demand: Demand,
) -> Guarantee:
    """The lowest threshold that passes. Each prompt is one trial: the first candidates of its first
    request, in the order in which they were drawn."""
    halves: tuple[list[int], list[int]] = ([], [])
    for place, half in enumerate(prompts.halves):
        halves[half].append(place)

    def outcome(threshold: float, places: Sequence[int]) -> tuple[int, int]:
        accepted = bad = 0
        for pool in (prompts.pools[place][0] for place in places):
            run = wave_run(pool, range(waves.cap), waves, threshold)
            accepted += run.accepted
            bad += run.accepted and (pool.golds or ())[run.winner] < demand.good
        return accepted, bad

    def bound(found: tuple[int, int]) -> float:
        return risk_bound(found[1], found[0], demand.confidence)

    # What is tried, and in which order, must not depend on the half that tests it.
    first = (prompts.pools[place][0] for place in halves[0])
    falling = sorted(thresholds_of(first, waves.cap), reverse=True)
    seen = [bound(outcome(threshold, halves[0])) for threshold in falling]
    sequence = falling[seen.index(min(seen)) :]
    outcomes = [outcome(threshold, halves[1]) for threshold in sequence]
    passed = certified(outcomes, demand.risk, demand.confidence)
    tested = len(halves[1])
    if not passed:
        accepted, bad = outcomes[0]
        return Guarantee(
            name, waves.cap, waves.size, None, tested, accepted, bad, None,
            f"{name}: no threshold keeps the risk at {demand.risk:.0%} with {demand.confidence:.0%}"
            f" confidence. At {sequence[0]:.4g}, {bad} of {accepted} accepted answers were bad,"
            f" which allows a risk of {bound(outcomes[0]):.1%}.",
        )  # fmt: skip
    threshold, (accepted, bad) = sequence[passed - 1], outcomes[passed - 1]
    return Guarantee(
        name, waves.cap, waves.size, threshold, tested, accepted, bad, bound((accepted, bad)),
        f"{name}: with threshold {threshold:.4g}, at most {demand.risk:.0%} of accepted answers"
        f" have gold below {demand.good:g}, with {demand.confidence:.0%} confidence. Of {tested}"
        f" prompts {accepted} were accepted, {bad} of them bad.",
    )  # fmt: skip
