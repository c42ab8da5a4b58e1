"""Several answers in one question, in shuffled orders: the mean of their Borda points.

It is the cheapest way to compare N answers: one call for each repeat. It harms with long answers,
which fill the judge's context, and with judges that strongly prefer a place in the list, unless
there are as many repeats as answers. Rewards are places among the answers of one request and do not
compare with other requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bon_common.judging.grades import LETTERS, grade_place
from bon_common.judging.listwise import lists, mean_points, points_of_chances, points_of_order
from bon_common.judging.pairs import TIE
from bon_common.judging.prompts import MAX_TOKENS
from bon_common.judging.rankings import read_ranking
from bon_gateway.backends.reward.judge.asking import TOP_LOGPROBS, Asking, Question
from bon_gateway.backends.reward.judge.criteria import COMPARED
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.reply import Reply


class ListwiseSettings(MethodSettings):
    type: Literal["listwise"]
    repeats: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of times to show all answers, each time in another order. With as many repeats as
    answers, each answer stands in every place once."""
    shuffle: bool = True
    """Shuffle the answers. False shows all lists in the order of the answers' texts: use it only to
    measure how much a judge prefers a place."""
    longest: Annotated[int, Field(ge=2, le=TOP_LOGPROBS)] = 10
    """Largest number of answers in one question. Each repeat deals more answers to several
    questions."""
    criterion: Annotated[str, Field(min_length=1)] = COMPARED
    """What makes an answer the best one."""
    read: Literal["expectation", "text"] = "expectation"
    """``expectation`` asks for the best answer's letter, one token, and compares all answers by the
    probabilities of their letters; it needs log-probabilities. ``text`` lets the judge explain
    itself first, and then write the whole order, such as [[B > A > C]]."""
    least_mass: Annotated[float, Field(ge=0, le=1)] = 0.05
    """As for ``pointwise``."""

    TEMPLATE: ClassVar[str] = "listwise.jinja"
    SHOWN: ClassVar[tuple[str, ...]] = ("answers",)
    compares: ClassVar[bool] = True

    @property
    def example(self) -> Mapping[str, Any]:
        answers = {"A": "Paris.", "B": "Lyon."}
        return {"answers": answers, "criterion": self.criterion, "explain": self.read == "text"}

    def calls(self, answers: int) -> int:
        return self.repeats * self.least_calls(answers)

    def least_calls(self, answers: int) -> int:
        # An answer that is alone in its list needs no call, and so does a single answer.
        dealt = lists(answers, 1, self.longest, Random(0), shuffle=False)
        return sum(len(own) > 1 for parts in dealt for own in parts)

    def build(self) -> ListwiseJudging:
        return ListwiseJudging(self)


@dataclass(frozen=True, slots=True)
class ListwiseJudging:
    settings: ListwiseSettings

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        if len(answers) == 1:
            # There is nothing to compare it with, and nothing wrong with it.
            return [TIE]
        settings = self.settings
        # As for ``pairwise``: the same answers have the same lists.
        order = sorted(range(len(answers)), key=answers.__getitem__)
        dealt = lists(
            len(answers),
            settings.repeats,
            settings.longest,
            asking.chance(),
            shuffle=settings.shuffle,
        )
        # By index from here on. An answer that is alone in its list needs no judge.
        shown = [
            (repeat, [order[one] for one in own])
            for repeat, parts in enumerate(dealt)
            for own in parts
            if len(own) > 1
        ]
        alone = [order[own[0]] for parts in dealt for own in parts if len(own) == 1]
        replies = await asking.ask_all([self._question(answers, *one) for one in shown])
        verdicts = []
        for (_, own), reply in zip(shown, replies, strict=True):
            points = None if reply is None else self._points(reply, own)
            if points is not None:
                verdicts.append(points)
            elif reply is not None:
                asking.abstain(reply)
        if verdicts:
            # Without any verdict no answer has a reward: chance must not give one to some.
            verdicts += [{one: TIE} for one in alone]
        return mean_points(len(answers), verdicts)

    def _question(self, answers: Sequence[str], repeat: int, own: Sequence[int]) -> Question:
        explain = self.settings.read == "text"
        letters = zip(LETTERS, own, strict=False)
        variables = {
            "answers": {letter: answers[index] for letter, index in letters},
            "criterion": self.settings.criterion,
            "explain": explain,
        }
        return Question(variables, MAX_TOKENS if explain else 1, not explain, repeat)

    def _points(self, reply: Reply, own: Sequence[int]) -> dict[int, float] | None:
        """The points of each answer of a list; None if no verdict can be read."""
        letters = LETTERS[: len(own)]
        if self.settings.read == "text":
            ranking = read_ranking(reply.text, letters)
            if ranking is None:
                return None
            return points_of_order(
                {one: ranking[letter] for one, letter in zip(own, letters, strict=True)}
            )
        place = grade_place(reply.text, letters)
        # As for ``pairwise``: any single token gives a verdict.
        token = reply.tokens[0] if place is None else reply.token_at(place)
        chances = [token.chances.get(letter, 0.0) for letter in letters]
        mass = sum(chances)
        if mass <= 0 or mass < self.settings.least_mass:
            return None
        return points_of_chances(dict(zip(own, chances, strict=True)))
