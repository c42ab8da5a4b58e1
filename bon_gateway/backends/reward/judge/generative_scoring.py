"""All answers in one call: vLLM's `/generative_scoring` reads the chances of the grades itself.

Prompts, grades and rewards are those of `pointwise` by expectation. vLLM gives the probabilities of
exactly these tokens, while a chat completion lists the 20 likeliest. One call holds the prompts of
all answers and criteria; there is one call for each level above the worst, so two levels cost one
call. Before that, one call of `/tokenize` for each prompt renders it with the model's own chat
template; the model does not run for it.

It helps with vLLM and many answers. It harms with judges that think: the grade is read where the
thinking would begin. It does not notice a judge that would write something other than a grade.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bon_common.judging.grades import levels_of
from bon_gateway.backends.http.faults import Fault, UpstreamError, malformed
from bon_gateway.backends.reward.judge.asking import Asking
from bon_gateway.backends.reward.judge.criteria import DEFAULT, Criteria, joint
from bon_gateway.backends.reward.judge.method import MethodSettings

SCORING = "/generative_scoring"
TOKENIZE = "/tokenize"
MOST_LABELS = 20
"""vLLM refuses more by default."""
TEMPLATE_FIELDS = ("chat_template", "chat_template_kwargs")
"""Fields of ``sampling`` that concern the chat template; nothing is sampled here."""


class GenerativeScoringSettings(MethodSettings):
    type: Literal["generative_scoring"]
    levels: Annotated[int, Field(ge=2, le=MOST_LABELS)] = 2
    """Number of grades: letters from A, the worst. Each one above the first costs one call, whose
    prompts are in the prefix cache. vLLM takes 20 at most, or its ``--max-logprobs`` if that is
    smaller."""
    criteria: Criteria = (DEFAULT,)
    """As for ``pointwise``."""

    TEMPLATE: ClassVar[str] = "pointwise.jinja"
    SHOWN: ClassVar[tuple[str, ...]] = ("answer",)
    sampling_fields: ClassVar[tuple[str, ...] | None] = TEMPLATE_FIELDS
    thinks: ClassVar[bool] = False

    @property
    def example(self) -> Mapping[str, Any]:
        return {"answer": "Paris.", "criterion": DEFAULT.text, "levels": levels_of(self.levels)}

    def calls(self, answers: int) -> int:
        return self.levels - 1

    def build(self) -> GenerativeScoring:
        return GenerativeScoring(self)


@dataclass(frozen=True, slots=True)
class GenerativeScoring:
    settings: GenerativeScoringSettings

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        levels, criteria = levels_of(self.settings.levels), self.settings.criteria
        labels = await _labels(asking, levels)
        if labels is None:
            return [None] * len(answers)
        shown = [
            {"answer": answer, "criterion": criterion.text, "levels": levels}
            for answer in answers
            for criterion in criteria
        ]
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(_prompt(asking, variables)) for variables in shown]
        prompts = [task.result() for task in asked]
        grades = iter(await _grades(asking, prompts, labels))
        return [joint([next(grades) for _ in criteria], criteria) for _ in answers]


async def _labels(asking: Asking, levels: str) -> list[int] | None:
    """The token of each letter."""
    bodies = [{"prompt": level, "add_special_tokens": False} for level in levels]
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(asking.free(TOKENIZE, body)) for body in bodies]
    labels = []
    for task in asked:
        answer = task.result()
        tokens = None if answer is None else _ids(answer)
        if tokens is None or len(tokens) != 1:
            if answer is not None:
                asking.fail(malformed("a grade is not one token to it"))
            return None
        labels.append(tokens[0])
    if len({*labels}) < len(labels):
        # The token for unknown text, for example.
        asking.fail(malformed("several grades are one token to it"))
        return None
    return labels


async def _prompt(asking: Asking, variables: Mapping[str, Any]) -> list[int] | None:
    """The question as the judge's engine reads it, up to the place of the grade."""
    body = {key: asking.sampling[key] for key in TEMPLATE_FIELDS if key in asking.sampling}
    answer = await asking.free(TOKENIZE, body, variables)
    if answer is None:
        return None
    given, most = answer.get("tokens"), answer.get("max_model_len")
    if isinstance(given, list) and isinstance(most, int) and len(given) >= most:
        # vLLM would silently cut the end, where the question stands. The tokens may be millions, so
        # they are not checked.
        asking.fail(UpstreamError(Fault.REFUSED, "The prompt is too long.", status=400))
        return None
    tokens = _ids(answer)
    if not tokens or not isinstance(most, int):
        asking.fail(malformed("its answer has no tokens"))
        return None
    return tokens


async def _grades(
    asking: Asking, prompts: Sequence[list[int] | None], labels: Sequence[int]
) -> list[float | None]:
    """Grades from 0 to 1; None for a prompt that is None, and for all if a call fails."""
    items = [tokens for tokens in prompts if tokens is not None]
    sums = [0.0] * len(items)
    for place, label in enumerate(labels):
        if place == 0 or not items:
            continue
        # The answer has only the chance of the first label, among all of them.
        others = [other for other in labels if other != label]
        body = {"query": [], "items": items, "label_token_ids": [label, *others]}
        answer = await asking.call(SCORING, body)
        chances = None if answer is None else _chances(answer, len(items))
        if chances is None:
            if answer is not None:
                asking.fail(malformed("its answer has no score for each prompt"))
            return [None] * len(prompts)
        sums = [known + place * chance for known, chance in zip(sums, chances, strict=True)]
    grades = iter(sums)
    return [None if tokens is None else next(grades) / (len(labels) - 1) for tokens in prompts]


def _ids(answer: Mapping[str, Any]) -> list[int] | None:
    tokens = answer.get("tokens")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        return None
    return tokens


def _chances(answer: Mapping[str, Any], count: int) -> list[float] | None:
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != count:
        return None
    scores = [one.get("score") if isinstance(one, Mapping) else None for one in data]
    known = [float(one) for one in scores if isinstance(one, float | int) and 0 <= one <= 1.000001]
    return known if len(known) == count else None
