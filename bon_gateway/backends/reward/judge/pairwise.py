"""Two answers side by side, in both orders: the winner of a tournament has the highest reward.

Judges prefer an answer for its place. So the judge sees each pair in both orders: probabilities are
averaged, and a written verdict that changes with the order is a tie. An answer without any verdict
has no reward. Chance decides which answers meet, never which is better.

It helps where a judge tells two answers apart that it would give the same grade. It harms if calls
are expensive: N answers cost at least 2 (N - 1) calls, in rounds that wait for each other. Rewards
are places among the answers of one request and do not compare with other requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bon_common.judging import knockout, pivot
from bon_common.judging.grades import grade_place
from bon_common.judging.matches import Pair
from bon_common.judging.pairs import PREFERENCES, TIE, averaged, settled
from bon_common.judging.prompts import MAX_TOKENS, read_verdict
from bon_gateway.backends.reward.judge.asking import Asking, Question
from bon_gateway.backends.reward.judge.criteria import COMPARED
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.reply import Reply

FIRST, SECOND, EQUAL = LETTERS = "ABC"


class PairwiseSettings(MethodSettings):
    type: Literal["pairwise"]
    tournament: Literal["knockout", "pivot"] = "knockout"
    """``knockout``: the loser is out; N answers take N - 1 comparisons. ``pivot``: all answers meet
    one good answer, then the best meet each other, in at most N * ceil(log2 N) comparisons. A
    comparison takes two calls. If ``budget.calls`` is too small for all answers, only some of them
    take part, and the others have no reward."""
    finalists: Annotated[int, Field(ge=2)] | None = None
    """With ``pivot``: number of the best answers that meet each other. None takes as many as the
    comparisons allow."""
    repeats: Annotated[int, Field(ge=0, le=256)] = 0
    """Further comparisons for one request, where the margin is smallest. They help only with judges
    that sample (``sampling.temperature`` above 0): others repeat themselves. ``knockout`` gains
    most."""
    both_orders: bool = True
    """Ask about each pair in both orders. False takes half of the calls, in a random order: a
    judge's preference for a place then weakens its verdicts."""
    criterion: Annotated[str, Field(min_length=1)] = COMPARED
    """What makes an answer the better one."""
    read: Literal["expectation", "text"] = "expectation"
    """``expectation`` reads the probabilities of the verdict's letter, one token, and needs
    log-probabilities. ``text`` lets the judge explain itself first and reads [[A]], [[B]] or
    [[tie]]; use it for endpoints without log-probabilities."""
    least_mass: Annotated[float, Field(ge=0, le=1)] = 0.05
    """As for ``pointwise``."""

    TEMPLATE: ClassVar[str] = "pairwise.jinja"
    SHOWN: ClassVar[tuple[str, ...]] = ("a", "b")
    compares: ClassVar[bool] = True

    @model_validator(mode="after")
    def _finalists_of_a_pivot(self) -> Self:
        if self.finalists is not None and self.tournament != "pivot":
            raise ValueError("finalists: only tournament: pivot has any")
        return self

    @property
    def example(self) -> Mapping[str, Any]:
        explain = self.read == "text"
        return {"a": "Paris.", "b": "Lyon.", "criterion": self.criterion, "explain": explain}

    def calls(self, answers: int) -> int:
        """With fewer only some answers take part."""
        most = answers * (answers - 1) // 2
        # A pivot tournament needs a final as well.
        comparisons = answers - 1 if self.tournament == "knockout" else min(most, 2 * (answers - 1))
        return comparisons * self.calls_each

    @property
    def calls_each(self) -> int:
        """Calls for one comparison."""
        return 2 if self.both_orders else 1

    def build(self) -> PairwiseJudging:
        return PairwiseJudging(self)


@dataclass(frozen=True, slots=True)
class PairwiseJudging:
    settings: PairwiseSettings

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        if len(answers) == 1:
            # There is nothing to compare it with, and nothing wrong with it.
            return [TIE]
        # Answers come in the order in which they were finished, which differs from run to run.
        # Sorted, the same answers play the same tournament.
        order = sorted(range(len(answers)), key=answers.__getitem__)
        comparing = Comparing(self.settings, asking, [answers[index] for index in order])
        found = await self._tournament(comparing, len(answers), asking)
        rewards: list[float | None] = [None] * len(answers)
        for index, reward in zip(order, found, strict=True):
            rewards[index] = reward
        return rewards

    async def _tournament(
        self, comparing: Comparing, count: int, asking: Asking
    ) -> Sequence[float | None]:
        settings, chance = self.settings, comparing.chance
        limit = asking.calls_left // settings.calls_each
        if settings.tournament == "pivot":
            finalists, repeats = settings.finalists, settings.repeats
            return await pivot.pivot(
                count, comparing, chance, limit=limit, repeats=repeats, finalists=finalists
            )
        most = min(limit, knockout.most_comparisons(count, settings.repeats))
        return await knockout.knockout(
            count, comparing, chance, limit=most, repeats=settings.repeats
        )


class Comparing:
    """Asks the judge about pairs of ``answers``."""

    def __init__(self, settings: PairwiseSettings, asking: Asking, answers: Sequence[str]) -> None:
        self._settings = settings
        self._asking = asking
        self._answers = answers
        self._asked: Counter[Pair] = Counter()
        """Number of questions about each pair in this order."""
        self.chance: Random = asking.chance()

    async def __call__(self, pairs: Sequence[Pair]) -> list[float | None]:
        shown = [order for pair in pairs for order in self._orders(pair)]
        replies = await self._asking.ask_all([self._question(*order) for order in shown])
        verdicts = [self._verdict(reply) for reply in replies]
        if self._settings.both_orders:
            join = settled if self._settings.read == "text" else averaged
            return [join(*both) for both in zip(verdicts[::2], verdicts[1::2], strict=True)]
        return [
            verdict if verdict is None or order == tuple(pair) else 1 - verdict
            for verdict, order, pair in zip(verdicts, shown, pairs, strict=True)
        ]

    def _orders(self, pair: Pair) -> list[Pair]:
        one, other = pair
        if self._settings.both_orders:
            return [(one, other), (other, one)]
        return [(one, other) if self.chance.random() < 0.5 else (other, one)]

    def _question(self, first: int, second: int) -> Question:
        repeat = self._asked[first, second]
        self._asked[first, second] += 1
        explain = self._settings.read == "text"
        variables = {
            "a": self._answers[first],
            "b": self._answers[second],
            "criterion": self._settings.criterion,
            "explain": explain,
        }
        return Question(variables, MAX_TOKENS if explain else 1, not explain, repeat)

    def _verdict(self, reply: Reply | None) -> float | None:
        """The preference for the answer shown first."""
        if reply is None:
            return None
        found = self._written(reply) if self._settings.read == "text" else self._expected(reply)
        if found is None:
            self._asking.abstain(reply)
        return found

    def _written(self, reply: Reply) -> float | None:
        choice = read_verdict(reply.text)
        return None if choice is None else PREFERENCES[choice]

    def _expected(self, reply: Reply) -> float | None:
        place = grade_place(reply.text, LETTERS)
        # A reply of any single token gives a verdict: only its probabilities count.
        token = reply.tokens[0] if place is None else reply.token_at(place)
        first, second, equal = (token.chances.get(letter, 0.0) for letter in LETTERS)
        mass = first + second + equal
        if mass <= 0 or mass < self._settings.least_mass:
            return None
        return (first + equal / 2) / mass
