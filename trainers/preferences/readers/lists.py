"""Formats of single answers, or of several answers to one prompt, with and without scores."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.base.messages import answer_messages, prompt_messages
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import ListedAnswer, Listwise, Pointwise
from trainers.preferences.tally import Tally

LABEL_KEYS = frozenset({"answer", "score", "scores", "rank"})


def _candidate(entry: Values, name: str, ranked: bool) -> ListedAnswer:
    if entry.get("answer") is None:
        raise BadLineError(f"{name}.answer: missing")
    key = "rank" if ranked else "score"
    if ranked and entry.get("rank") is None:
        raise BadLineError(f"{name}.rank: missing, though other candidates have one")
    value = entry.get(key)
    score = None if value is None else fields.number(value, f"{name}.{key}")
    if ranked and score is not None:
        score = -score  # rank 1 is the best
    dimensions = fields.by_dimension(entry, "scores", f"{name}.")
    if dimensions and score is None and not ranked:
        score = fmean(dimensions.values())
    source = {key: value for key, value in entry.items() if key not in LABEL_KEYS}
    messages = fields.listed_answer(entry, "answer", entry["answer"], f"{name}.answer")
    return ListedAnswer(messages, score, source, dimensions)


class CandidatesReader(FormatReader):
    """prompt, candidates of answer, score? (or rank?), scores? by dimension and the source of each;
    reference?"""

    keys = ("prompt", "candidates")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        prompt = fields.prompt(values)
        entries = fields.objects(values, "candidates")
        ranked = any("rank" in entry for entry in entries)
        yield Listwise(
            prompt,
            tuple(_candidate(entry, f"candidates.{i}", ranked) for i, entry in enumerate(entries)),
            ordinal=ranked or values.get("ordinal") is True,
            references=fields.references(values),
            subset=fields.optional_text(values, "subset"),
        )


class RankingReader(FormatReader):
    """prompt, answers, and their ranks (1 is best, equal ranks tie) or scores."""

    def matches(self, values: Values) -> bool:
        return "answers" in values and ("ranks" in values or "scores" in values)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        """`ranks` holds a rank for each answer, 1 the best; `scores` a score for each."""
        prompt = fields.prompt(values)
        answers = [
            fields.listed_answer(values, "answers", value, f"answers.{i}")
            for i, value in enumerate(fields.items(values, "answers"))
        ]
        ordinal = "scores" not in values
        key = "ranks" if ordinal else "scores"
        numbers = [
            fields.number(value, f"{key}.{i}")
            for i, value in enumerate(fields.of_equal_length(values, key, len(answers), "answers"))
        ]
        candidates = tuple(
            ListedAnswer(one, -value if ordinal else value)
            for one, value in zip(answers, numbers, strict=True)
        )
        yield Listwise(prompt, candidates, ordinal=ordinal, references=fields.references(values))


class RewardBench2Reader(FormatReader):
    """RewardBench 2: prompt, lists of chosen and of rejected texts, subset."""

    def matches(self, values: Values) -> bool:
        return all(
            isinstance(values.get(key), list)
            and len(values[key]) > 0
            and all(isinstance(value, str) for value in values[key])
            for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        """Right answers get score 1, wrong ones 0; the subset Ties has several right ones."""
        fields.text(values, "prompt")
        prompt = fields.prompt(values)
        candidates = [
            ListedAnswer(fields.listed_answer(values, key, value, f"{key}.{index}"), score)
            for key, score in (("chosen", 1.0), ("rejected", 0.0))
            for index, value in enumerate(fields.items(values, key))
        ]
        expected = fields.optional_number(values, "total_completions")
        if expected is not None and expected != len(candidates):
            raise BadLineError(f"total_completions: {expected:g}, but there are {len(candidates)}")
        subset = fields.optional_text(values, "subset")
        yield Listwise(prompt, tuple(candidates), ordinal=True, subset=subset)


class PointwiseReader(FormatReader):
    """prompt, answer (or completion), score (or scores by dimension, or both); grouped by
    prompt."""

    def matches(self, values: Values) -> bool:
        scored = "score" in values or isinstance(values.get("scores"), dict)
        return scored and fields.answer_key(values) in values

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pointwise]:
        prompt = fields.prompt(values, fields.prompt_key(values))
        answer = fields.answer(values, fields.answer_key(values))
        dimensions = fields.by_dimension(values, "scores")
        score = fields.optional_number(values, "score")
        if score is None and not dimensions:
            fields.required(values, "score")
        yield Pointwise(
            prompt,
            answer,
            fmean(dimensions.values()) if score is None else score,
            dimensions,
        )


FALSE_TEN = "UltraFeedback's false tens: overall_score 10 beside ratings of at most 4"


class UltraFeedbackReader(FormatReader):
    """UltraFeedback: instruction, completions of response and overall_score."""

    def matches(self, values: Values) -> bool:
        return "instruction" in values and isinstance(values.get("completions"), list)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        fields.text(values, "instruction")
        prompt = fields.prompt(values, "instruction")
        candidates = []
        for index, completion in enumerate(fields.objects(values, "completions")):
            name = f"completions.{index}"
            if not isinstance(completion.get("response"), str):
                raise BadLineError(f"{name}.response: missing")
            score = completion.get("overall_score")
            score = None if score is None else fields.number(score, f"{name}.overall_score")
            if _is_false_ten(completion, score):
                tally.drop(FALSE_TEN)
                continue
            model = completion.get("model")
            candidates.append(
                ListedAnswer(
                    answer_messages(completion["response"], f"{name}.response"),
                    score,
                    {"policy": model} if isinstance(model, str) else {},
                )
            )
        if candidates:
            yield Listwise(prompt, tuple(candidates))


def _is_false_ten(completion: Values, score: float | None) -> bool:
    """UltraFeedback's judge wrote "1" and the set's authors read "10" in some of its answers."""
    if score != 10:
        return False
    mean = completion.get("fine-grained_score")
    if isinstance(mean, int | float):
        return mean <= 4
    annotations = completion.get("annotations")
    aspects = annotations.values() if isinstance(annotations, dict) else ()
    ratings = [str(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, dict)]
    known = [float(rating) for rating in ratings if rating in ("1", "2", "3", "4", "5")]
    return bool(known) and fmean(known) <= 4


class LoggedReader(FormatReader):
    """answers without any label: prompt and answer (or completion, response, output), or messages
    that end with the answer."""

    def matches(self, values: Values) -> bool:
        if fields.prompt_key(values) in values:
            return fields.answer_key(values) in values
        messages = values.get("messages")
        return (
            isinstance(messages, list)
            and len(messages) > 1
            and isinstance(messages[-1], dict)
            and messages[-1].get("role") == "assistant"
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        if fields.prompt_key(values) in values:
            prompt = fields.prompt(values, fields.prompt_key(values))
            found = fields.answer(values, fields.answer_key(values))
        else:
            prompt, found = last_answer(fields.conversation(values, "messages"), "messages")
        yield Listwise(prompt, (ListedAnswer(found),), references=fields.references(values))


def last_answer(messages: list[Message], name: str) -> tuple[list[Message], list[Message]]:
    """What was asked and the answer, of a conversation that ends with one."""
    if messages[-1]["role"] != "assistant":
        raise BadLineError(f"{name}: the last message must be the assistant's")
    return prompt_messages(messages[:-1], name), messages[-1:]
