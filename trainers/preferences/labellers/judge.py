"""A judge model compares every two answers in both orders.

Judges tend to prefer one position (Zheng et al. 2023, arXiv:2306.05685): a verdict counts only if
it is the same when the answers change places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from bon_common.judging.pairs import PREFERENCES, TIE, agreed
from bon_common.judging.prompts import MAX_TOKENS, PROMPT, Choice, read_verdict
from trainers.base.messages import shown_answer
from trainers.base.settings import Positive
from trainers.endpoint.http import JsonClient
from trainers.endpoint.work import together
from trainers.preferences.labellers.base import ChatLabeller
from trainers.preferences.labels import Compare, Comparison, Label, Outcome, places
from trainers.preferences.records import Listwise

DISAGREES = "judge's verdict depends on the order"
BOTH_FIRST = "judge preferred what was shown first, in both orders"
BOTH_SECOND = "judge preferred what was shown second, in both orders"
UNREADABLE = "judge's verdict cannot be read"

OUTCOMES: Mapping[float, Outcome] = MappingProxyType({1.0: "first", 0.0: "second", TIE: "tie"})
"""Verdicts by preference."""


class JudgeLabeller(ChatLabeller):
    """A judge model, asked at temperature 0. It sees every two answers in both orders, which
    cancels position bias."""

    placeholders = ("conversation", "a", "b")

    type: Literal["judge"]
    prompt: str = PROMPT
    """With {conversation}, {a} and {b}; the verdict is the last [[A]], [[B]] or [[tie]]."""
    max_tokens: Positive = MAX_TOKENS
    """Longest verdict, reasons included."""
    on_disagreement: Literal["drop", "tie"] = "drop"
    """What to make of a verdict that depends on the order; it is counted either way."""
    compare: Compare = "all"
    """Which answers of one prompt are compared: every two, or each with the next."""
    budget: Positive | None = None
    """Most comparisons of one prompt's answers, drawn at random so that every answer takes part as
    far as it reaches. Six answers have 15 pairs; with five comparisons all of them still meet."""

    async def label(self, client: JsonClient, task: Listwise) -> Label:
        texts = [shown_answer(candidate.answer) for candidate in task.candidates]
        pairs = places(task, self.compare, self.budget)
        shown = [order for i, j in pairs for order in ((i, j), (j, i))]
        answers = await together(self.ask(client, task, a=texts[i], b=texts[j]) for i, j in shown)
        replies = tuple(answer.text for answer in answers)
        comparisons, dropped, noted = [], Counter[str](), Counter[str]()
        for (i, j), once, again in zip(pairs, replies[::2], replies[1::2], strict=True):
            outcome = self._outcome(read_verdict(once), read_verdict(again), dropped, noted)
            if outcome is not None:
                comparisons.append(Comparison(i, j, outcome))
        return Label(comparisons=tuple(comparisons), dropped=dropped, noted=noted, replies=replies)

    def _outcome(
        self,
        once: Choice | None,
        again: Choice | None,
        dropped: Counter[str],
        noted: Counter[str],
    ) -> Outcome | None:
        """`again` is the verdict with the places changed."""
        if once is None or again is None:
            dropped[UNREADABLE] += 1
            return None
        preference = agreed(PREFERENCES[once], PREFERENCES[again])
        if preference is not None:
            return OUTCOMES[preference]
        if once == again:
            noted[BOTH_FIRST if once == "A" else BOTH_SECOND] += 1
        if self.on_disagreement == "tie":
            noted[DISAGREES] += 1
            return "tie"
        dropped[DISAGREES] += 1
        return None
