"""Exports of annotation tools: Argilla and Label Studio."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from trainers.base.lines import BadLineError, printable
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import ListedAnswer, Listwise, Pointwise
from trainers.preferences.tally import Tally

_ANSWER = re.compile(
    r"(?:response|answer|completion|generation|output|candidate|text|chosen|rejected)"
    r"[-_ ]?\w*"
)
UNJUDGED = "records that nobody has judged"
_TIES = frozenset({"tie", "equal", "both", "neither"})


def _answers(values: Values) -> list[str]:
    """The names of the fields that hold answers, in their order."""
    asked = fields.prompt_key(values)
    return [
        key
        for key in values
        if key != asked and _ANSWER.fullmatch(key) and values.get(key) is not None
    ]


def _inside(values: Values, key: str) -> Values:
    value = fields.required(values, key)
    if not isinstance(value, dict):
        raise BadLineError(f"{key}: an object is expected")
    return fields.part(values, value, key)


class ArgillaReader(FormatReader):
    """Argilla's records: fields (a prompt and answers), responses to a question that ranks the
    answers, names the better one, or rates the only one."""

    keys = ("fields", "responses")

    def read(
        self, values: Values, tally: Tally, options: ReadOptions
    ) -> Iterator[Listwise | Pointwise]:
        """Several people's judgements of an answer become their mean."""
        inside = _inside(values, "fields")
        prompt = fields.prompt(inside, fields.prompt_key(inside))
        names = _answers(inside)
        if not names:
            raise BadLineError("fields: no answer, such as response or response_1")
        answers = [fields.answer(inside, name) for name in names]
        judged = {
            question: scores
            for question, given in _given(values).items()
            if (scores := _scores(given, names))
        }
        if not judged:
            tally.drop(UNJUDGED)
            return
        if len(judged) > 1:
            found = ", ".join(sorted(printable(question) for question in judged))
            raise BadLineError(f"responses: several questions judge the answers: {found}")
        [scores] = judged.values()
        if len(names) == 1:
            yield Pointwise(prompt, answers[0], scores[0])
        else:
            candidates = map(ListedAnswer, answers, scores)
            yield Listwise(prompt, tuple(candidates), ordinal=True)


def _given(values: Values) -> dict[str, list[Any]]:
    """What people answered to each question; drafts and discarded records do not count."""
    responses = fields.required(values, "responses")
    found: dict[str, list[Any]] = {}
    if isinstance(responses, dict):  # Argilla 2: by question
        for question, given in responses.items():
            for one in given if isinstance(given, list) else [given]:
                if isinstance(one, dict) and one.get("status", "submitted") == "submitted":
                    found.setdefault(question, []).append(one.get("value"))
    elif isinstance(responses, list):  # Argilla 1: by person
        for one in responses:
            answered = one.get("values") if isinstance(one, dict) else None
            if isinstance(answered, dict) and one.get("status", "submitted") == "submitted":
                for question, given in answered.items():
                    value = given.get("value") if isinstance(given, dict) else given
                    found.setdefault(question, []).append(value)
    else:
        raise BadLineError("responses: an object or a list is expected")
    return found


def _scores(given: list[Any], names: list[str]) -> list[float]:
    """A score for each answer, the mean over people; empty if the question judges none."""
    each = [scores for value in given if (scores := _one_judgement(value, names))]
    return [fmean(scores) for scores in zip(*each, strict=True)]


def _one_judgement(value: Any, names: list[str]) -> list[float]:
    if len(names) == 1:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return [fields.number(value, "responses")] if is_number else []
    if isinstance(value, str):
        if value in _TIES:
            return [0.5] * len(names)
        return [float(name == value) for name in names] if value in names else []
    if not isinstance(value, list):
        return []
    ranks: dict[Any, float] = {}
    for place, one in enumerate(value, 1):
        if isinstance(one, Mapping):
            ranks[str(one.get("value"))] = fields.number(one.get("rank"), "responses")
        elif isinstance(one, str):
            ranks[one] = float(place)
    return [-ranks[name] for name in names] if set(names) <= set(ranks) else []


class LabelStudioReader(FormatReader):
    """Label Studio's JSON export: data (a prompt and two answers), annotations with a pairwise
    result (left or right)."""

    keys = ("data", "annotations")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        """The left answer is the first of the two. Votes of several people are counted."""
        inside = _inside(values, "data")
        prompt = fields.prompt(inside, fields.prompt_key(inside))
        names = _answers(inside)
        if len(names) != 2:
            found = ", ".join(map(printable, names)) or "none"
            raise BadLineError(f"data: two answers are expected, there are: {found}")
        answers = [fields.answer(inside, name) for name in names]
        votes = list(_votes(values))
        if not votes:
            tally.drop(UNJUDGED)
            return
        left = fmean(votes)
        candidates = (ListedAnswer(answers[0], left), ListedAnswer(answers[1], 1 - left))
        yield Listwise(prompt, candidates, ordinal=True)


def _votes(values: Values) -> Iterator[float]:
    """For each annotation 1 for left, 0 for right, 0.5 for neither."""
    annotations = fields.required(values, "annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        results = annotation.get("result")
        for result in results if isinstance(results, list) else ():
            if not isinstance(result, dict) or result.get("type") != "pairwise":
                continue
            value = result.get("value")
            selected = value.get("selected") if isinstance(value, dict) else None
            yield {"left": 1.0, "right": 0.0}.get(str(selected), 0.5)
