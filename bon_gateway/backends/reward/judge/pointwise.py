"""Each answer by itself: the judge gives it a letter, and the probabilities make the grade.

Written grades tie many answers. The expectation over the probabilities of all grades at that letter
tells them apart (arXiv:2607.05391), and takes one token for each question. An answer that lacks the
verdict on one criterion has no reward: a mean over fewer criteria does not compare with the others.

It helps with judges that give log-probabilities; N answers cost N questions for each criterion. It
harms if the judge is too weak to grade one answer alone, but can compare two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bon_common.judging.grades import MOST_LEVELS, expectation, grade_place, levels_of
from bon_gateway.backends.reward.judge.asking import Asking, Question
from bon_gateway.backends.reward.judge.criteria import DEFAULT, Criteria, joint
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.reply import Reply

ROOM = 8
"""Tokens for a verdict as text: a judge may put the letter in bold or brackets."""


class PointwiseSettings(MethodSettings):
    type: Literal["pointwise"] = "pointwise"
    levels: Annotated[int, Field(ge=2, le=MOST_LEVELS)] = 20
    """Number of grades: letters from A, the worst, without I, with which refusals begin. Fewer suit
    small judges."""
    criteria: Criteria = (DEFAULT,)
    """The criteria for grades. Each is one question for each answer, and the reward is the weighted
    mean."""
    repeats: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of times to ask each question; the grade is the mean. It helps only with judges that
    think or with ``read: text``, and with ``sampling.temperature`` above 0: otherwise all repeats
    are alike."""
    read: Literal["expectation", "text"] = "expectation"
    """``expectation`` reads the probabilities of all grades, and needs log-probabilities. ``text``
    reads the letter that the judge wrote; use it for endpoints without log-probabilities. Many
    answers then tie."""
    least_mass: Annotated[float, Field(ge=0, le=1)] = 0.05
    """With ``expectation``: if all grades together have a smaller probability, the judge meant to
    write something else, and there is no verdict."""

    TEMPLATE: ClassVar[str] = "pointwise.jinja"
    SHOWN: ClassVar[tuple[str, ...]] = ("answer",)

    @property
    def example(self) -> Mapping[str, Any]:
        return {"answer": "Paris.", "criterion": DEFAULT.text, "levels": levels_of(self.levels)}

    def calls(self, answers: int) -> int:
        return answers * len(self.criteria) * self.repeats

    def build(self) -> PointwiseJudging:
        return PointwiseJudging(self)


@dataclass(frozen=True, slots=True)
class PointwiseJudging:
    settings: PointwiseSettings

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        replies = iter(await asking.ask_all([*self._questions(answers)]))
        rewards: list[float | None] = []
        for _ in answers:
            grades = []
            for _ in self.settings.criteria:
                read = [self._grade(asking, next(replies)) for _ in range(self.settings.repeats)]
                known = [grade for grade in read if grade is not None]
                grades.append(sum(known) / len(known) if known else None)
            rewards.append(joint(grades, self.settings.criteria))
        return rewards

    def _questions(self, answers: Sequence[str]) -> Iterator[Question]:
        """Questions in the order that shares the longest prefixes: one answer's criteria follow
        each other."""
        settings = self.settings
        levels = levels_of(settings.levels)
        expects = settings.read == "expectation"
        for answer in answers:
            for criterion in settings.criteria:
                shown = {"answer": answer, "criterion": criterion.text, "levels": levels}
                for repeat in range(settings.repeats):
                    yield Question(shown, 1 if expects else ROOM, expects, repeat)

    def _grade(self, asking: Asking, reply: Reply | None) -> float | None:
        if reply is None:
            return None
        levels = levels_of(self.settings.levels)
        place = grade_place(reply.text, levels)
        if self.settings.read == "text":
            if place is None:
                asking.abstain(reply)
                return None
            return levels.index(reply.text[place]) / (len(levels) - 1)
        # A reply of any single token gives a verdict: only its probabilities count.
        token = reply.tokens[0] if place is None else reply.token_at(place)
        grade, mass = expectation(token.chances, levels)
        if mass < self.settings.least_mass or mass <= 0:
            asking.abstain(reply)
            return None
        return grade
