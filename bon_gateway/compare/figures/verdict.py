"""The verdict in words, with its reasons and its uncertainty. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_gateway.compare.figures.differences import random_of
from bon_gateway.compare.figures.results import Choice, CurvePoint, Results, Tuned
from bon_gateway.compare.figures.words import bound, number, per_thousand, spread, told
from bon_gateway.compare.statistics import Interval

NO_DIFFERENCE = Interval(0.0, 0.0, 0.0)


def verdict(results: Results) -> list[str]:
    """A few sentences."""
    said = [_best(results), *_ways(results), *_same(results)]
    if not any(arm.training for arm in results.arms):
        said.append("No tuned policy is among the arms, so there is nothing to switch to.")
    elif not results.tuned:
        said.append(
            "Without prices, and scores and usage of the tuned policies, there is no break-even."
        )
    said += [_tuned(one, results) for one in results.tuned]
    return said


def _best(results: Results) -> str:
    scored = [
        (arm, quality)
        for arm in results.arms
        if (quality := arm.quality[results.primary]) is not None
    ]
    if not scored:
        return "No arm has a score: nothing can be said of quality."
    best, quality = max(scored, key=lambda both: both[1].value)
    text = f"The best answers are those of {best.name}: quality {spread(quality)}"
    text += f" by {results.primary}."
    text += _above(best.name, results)
    if best.cost is not None:
        day = best.cost.map(lambda money: money * results.requests_per_day)
        text += (
            f" At {number(results.requests_per_day)} requests a day it costs {spread(day)}"
            f" {results.currency} a day."
        )
    return text


def _above(best: str, results: Results) -> str:
    """What the best arm is clearly better than, and against what nothing is decided."""
    names = {arm.name for arm in results.arms}
    theirs = [one for one in results.differences if one.ours == best and one.theirs in names]
    clear = [one.theirs for one in theirs if one.decided]
    text = f" At the same prompts it is better than {_and(clear)}." if clear else ""
    equal = [one.theirs for one in theirs if one.difference == NO_DIFFERENCE]
    text += f" It has exactly the quality of {_and(equal)}." if equal else ""
    for one in theirs:
        if not one.decided and one.theirs not in equal:
            text += f" Against {one.theirs} it has {told(one)}."
    return text


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _widest(results: Results) -> Choice | None:
    """Of the base arms of several candidates the one with most."""
    base = {arm.name for arm in results.arms if arm.training is None}
    known = [choice for choice in results.choices if choice.arm in base]
    return max(known, key=lambda choice: choice.n, default=None)


def _ways(results: Results) -> list[str]:
    widest = _widest(results)
    return [] if widest is None else [_way(widest, results)]


def _way(choice: Choice, results: Results) -> str:
    """Best-of-N beside greedy decoding, random choice and the oracle."""
    mine = {one.theirs: one for one in results.differences if one.ours == choice.arm}
    greedy = next((arm.name for arm in results.arms if arm.greedy and arm.name in mine), None)
    chosen = mine[random_of(choice.arm)]
    text = f"Over random choice among its own candidates {choice.arm} has {told(chosen)}"
    if greedy is None:
        return f"{text}. No arm at temperature 0 was asked: greedy decoding may be as good."
    text += f"; over greedy decoding it has {told(mine[greedy])}."
    if choice.way is not None:
        share = choice.way.map(lambda part: 100 * part)
        text += f" That is {spread(share)} % of the way from greedy decoding to the oracle"
        text += f" of its {choice.n} candidates."
    return text


def _same(results: Results) -> list[str]:
    return [
        f"{arm.name} is the base policy: {arm.same_as_base}."
        for arm in results.arms
        if arm.same_as_base is not None
    ]


def _tuned(tuned: Tuned, results: Results) -> str:
    if not tuned.sound:
        return (
            f"{tuned.arm}: too many requests failed or have no score to compare it with best-of-N."
        )
    if tuned.undecided is not None:
        text = f"{tuned.arm} has no break-even: {tuned.undecided}."
        if any(arm.name == tuned.arm and arm.same_as_base for arm in results.arms):
            return text
        return f"{text} Against {tuned.above_one.theirs} it has {told(tuned.above_one)}."
    assert tuned.break_even is not None, "there is one unless the arm says why not"
    assert tuned.days is not None, "they go with the break-even"
    text = f"{tuned.arm} {_matched(tuned, results.curve)}"
    text += (
        f" A thousand requests cost {spread(per_thousand(tuned.tuned_cost))} {results.currency},"
        f" of best-of-{tuned.compared_n} {spread(per_thousand(tuned.bon_cost))}."
    )
    if math.isinf(tuned.break_even.value):
        text += " It saves nothing, so it never pays: stay with best-of-N."
        if not math.isinf(tuned.break_even.low):
            text += f" At the edge of the interval it would after {number(tuned.break_even.low)}."
        return text
    text += (
        f" Training for {number(tuned.training_money)} {results.currency} pays back after"
        f" {spread(tuned.break_even)} requests, {spread(tuned.days)} days at"
        f" {number(results.requests_per_day)} a day."
    )
    if tuned.month_break_even is not None:
        per_month = tuned.bon_month - tuned.tuned_month
        word = "saves" if per_month > 0 else "loses"
        text += (
            f" With its retraining it {word} {number(abs(per_month))} {results.currency} a month."
        )
    if math.isinf(tuned.break_even.high):
        text += " The interval does not exclude that it never pays."
    return text


def _matched(tuned: Tuned, curve: Sequence[CurvePoint]) -> str:
    matched = tuned.matched_n
    largest = max(point.n for point in curve)
    if math.isinf(matched.value):
        word = "is better than" if math.isinf(matched.low) else "is not decided against"
        return (
            f"{word} best-of-{largest}, the largest known (N from {bound(matched.low)})."
            " Compared with that N it looks worse than it is."
        )
    high = f"above {largest}" if math.isinf(matched.high) else f"{matched.high:g}"
    return f"equals best-of-{matched.value:g} (N from {matched.low:g} to {high})."
