"""Two answers side by side, in both orders: who wins a tournament has the highest reward.

Judges prefer an answer for its place. So each pair is asked in both orders: chances of the verdict
are averaged, and a written verdict that changes with the order is a tie. An answer without any
verdict has no reward, and nobody has one if no verdict came: chance decides who meets whom, and
never who is better.

It helps where a judge tells two answers apart that it would give the same grade. It harms where
calls are dear: N answers cost at least 2 (N - 1) of them, in rounds that wait for each other.
Rewards are places among the answers of one request, so they compare with those of no other request.
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
    """``knockout``: who loses is out, N - 1 comparisons for N answers. ``pivot``: all answers meet
    one good answer, then the best meet each other, at most N * ceil(log2 N) comparisons. A
    comparison takes two calls. With a ``budget.calls`` that is too small for all answers, only some
    of them take part, and the others have no reward."""
    finalists: Annotated[int, Field(ge=2)] | None = None
    """With ``pivot``: how many of the best meet each other. None for as many as the comparisons
    reach."""
    repeats: Annotated[int, Field(ge=0, le=256)] = 0
    """Further comparisons of one request, spent where the margin is smallest. Only for judges that
    sample (``sampling.temperature`` above 0): others repeat themselves. ``knockout`` gains most."""
    both_orders: bool = True
    """Whether each pair is asked in both orders. False takes half of the calls and one order by
    chance: a judge's preference for a place then weakens its verdicts."""
    criterion: Annotated[str, Field(min_length=1)] = COMPARED
    """What makes an answer the better one."""
    read: Literal["expectation", "text"] = "expectation"
    """``expectation`` reads the chances of the verdict's letter, in one token, and needs
    log-probabilities. ``text`` lets the judge explain itself first and reads [[A]], [[B]] or
    [[tie]]: for endpoints that give none."""
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

    def build(self) -> PairwiseJudging:
        return PairwiseJudging(self)


@dataclass(frozen=True, slots=True)
class PairwiseJudging:
    settings: PairwiseSettings

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        if len(answers) == 1:
            # There is nothing to compare it with, and nothing wrong with it.
            return [TIE]
        # Answers come in the order in which they were drawn to their end, which differs from one
        # run to the next. Sorted, the same answers have the same tournament.
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
        limit = asking.calls_left // (2 if settings.both_orders else 1)
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
        """How often each pair was asked in this order."""
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
        """The preference for what was shown first."""
        if reply is None:
            return None
        found = self._written(reply) if self._settings.read == "text" else self._expected(reply)
        if found is None:
            self._asking.abstain()
        return found

    def _written(self, reply: Reply) -> float | None:
        choice = read_verdict(reply.text)
        return None if choice is None else PREFERENCES[choice]

    def _expected(self, reply: Reply) -> float | None:
        place = grade_place(reply.text, LETTERS)
        # A reply of one token is a verdict whatever was drawn: its chances are what was asked for.
        token = reply.tokens[0] if place is None else reply.token_at(place)
        first, second, equal = (token.chances.get(letter, 0.0) for letter in LETTERS)
        mass = first + second + equal
        if mass <= 0 or mass < self._settings.least_mass:
            return None
        return (first + equal / 2) / mass
