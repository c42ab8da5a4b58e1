"""What a labeller says about one prompt's answers, and the preferences that follow from it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any, Literal

from trainers.base.data import Message
from trainers.preferences.forms import TIES, Form, PairChoice, in_form
from trainers.preferences.records import Listwise, Pairwise, Preference
from trainers.preferences.tally import Tally

Outcome = Literal["first", "second", "tie"]
Compare = Literal["all", "chain"]
"""Every two answers of a prompt, or only each with the next one."""


@dataclass(frozen=True)
class Comparison:
    """One answer against another, by their places in the record."""

    first: int
    second: int
    outcome: Outcome
    margin: float | None = None
    """How much better the better one is, if the labeller said so."""


@dataclass(frozen=True)
class Label:
    """What a labeller said about the answers of a record: scores, comparisons or rewrites."""

    scores: tuple[float | None, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    rewrites: Mapping[int, str] = field(default_factory=dict)
    """A better text for the answer at each of these places."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Numbers of what could not be labelled, by reason."""
    noted: Mapping[str, int] = field(default_factory=dict)
    """Numbers of notes about how it was labelled, by note."""
    replies: tuple[str, ...] = ()
    """A judge's whole replies, for inspection."""

    def as_json(self, key: str) -> dict[str, Any]:
        return {
            "key": key,
            "scores": list(self.scores),
            "comparisons": [[c.first, c.second, c.outcome, c.margin] for c in self.comparisons],
            "rewrites": {str(place): text for place, text in self.rewrites.items()},
            "dropped": dict(self.dropped),
            "noted": dict(self.noted),
            "replies": list(self.replies),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Label:
        """Raises KeyError, TypeError or ValueError for what `as_json` did not write."""
        return cls(
            tuple(values["scores"]),
            tuple(Comparison(*comparison) for comparison in values["comparisons"]),
            {int(place): text for place, text in values["rewrites"].items()},
            dict(values["dropped"]),
            dict(values["noted"]),
            tuple(values["replies"]),
        )


def task_key(task: Listwise) -> str:
    """A digest of prompt and answers, by which a resumed run knows the record."""
    parts = [task.prompt, [c.answer for c in task.candidates]]
    beside = task.inputs.as_json()
    text = json.dumps([*parts, beside] if beside else parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def places(task: Listwise, compare: Compare, budget: int | None = None) -> list[tuple[int, int]]:
    """Index pairs of the answers to compare, at most `budget` of them.

    A budget first takes a chain through all answers in a random order, which ties each to the
    others, then further pairs at random. The same record gives the same pairs.
    """
    count = len(task.candidates)
    wanted = list(combinations(range(count), 2) if compare == "all" else pairwise(range(count)))
    if budget is None or len(wanted) <= budget:
        return wanted
    rng = random.Random(task_key(task))
    if compare == "chain":
        return sorted(rng.sample(wanted, budget))
    order = rng.sample(range(count), count)
    chain = [(min(both), max(both)) for both in pairwise(order)]
    others = [pair for pair in wanted if pair not in set(chain)]
    return sorted([*chain, *rng.sample(others, len(others))][:budget])


def preferences_of(
    task: Listwise,
    label: Label,
    tally: Tally,
    *,
    form: Form,
    pairs: PairChoice,
    min_margin: float,
) -> Iterator[Preference]:
    """The labelled record in the form asked for; drops are counted.

    Comparisons become pairs if there are two answers, or if `pairs` is all. Otherwise an answer's
    score is its share of won comparisons, ties as half (Copeland's method).
    """
    for reason, count in label.dropped.items():
        tally.drop(reason, count)
    for note, count in label.noted.items():
        tally.note(note, count)
    found: list[Preference] = []
    if label.scores:
        found.append(_with_scores(task, label.scores, ordinal=False))
    if label.comparisons and form == "pairwise" and (pairs == "all" or len(task.candidates) == 2):
        found += _compared(task, label.comparisons, tally)
    elif label.comparisons:
        shares = win_shares(len(task.candidates), label.comparisons)
        found.append(_with_scores(task, shares, ordinal=form != "pointwise"))
    for place, text in label.rewrites.items():
        original = task.candidates[place].answer
        rewrite = [Message(role="assistant", content=text)]
        found.append(_pair(task, rewrite, original))
    yield from in_form(found, form, tally, pairs=pairs, min_margin=min_margin)


def win_shares(count: int, comparisons: Sequence[Comparison]) -> tuple[float | None, ...]:
    """The share of its comparisons that each answer won, ties as half; None without any."""
    won, held = [0.0] * count, [0] * count
    for comparison in comparisons:
        gain = {"first": 1.0, "tie": 0.5, "second": 0.0}[comparison.outcome]
        won[comparison.first] += gain
        won[comparison.second] += 1 - gain
        held[comparison.first] += 1
        held[comparison.second] += 1
    return tuple(w / h if h else None for w, h in zip(won, held, strict=True))


def _with_scores(task: Listwise, scores: Sequence[float | None], *, ordinal: bool) -> Listwise:
    candidates = tuple(
        replace(candidate, score=score)
        for candidate, score in zip(task.candidates, scores, strict=True)
    )
    return replace(task, candidates=candidates, ordinal=ordinal)


def _compared(
    task: Listwise, comparisons: Sequence[Comparison], tally: Tally
) -> Iterator[Pairwise]:
    for comparison in comparisons:
        first, second = (
            task.candidates[place].answer for place in (comparison.first, comparison.second)
        )
        if comparison.outcome == "tie":
            tally.drop(TIES)
        elif comparison.outcome == "first":
            yield _pair(task, first, second, comparison.margin)
        else:
            yield _pair(task, second, first, comparison.margin)


def _pair(
    task: Listwise, chosen: list[Message], rejected: list[Message], margin: float | None = None
) -> Pairwise:
    return Pairwise(
        task.prompt, chosen, rejected, margin, inputs=task.inputs, metadata=task.metadata
    )
