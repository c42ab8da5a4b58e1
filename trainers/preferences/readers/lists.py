"""Formats in which each record holds several answers to one prompt."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from trainers.base.lines import BadLineError
from trainers.base.messages import answer_messages, chat_messages, prompt_messages
from trainers.preferences.readers.fields import (
    Values,
    by_dimension,
    items,
    number,
    of_equal_length,
    optional_number,
    optional_text,
    references,
    required,
    text,
)
from trainers.preferences.readers.options import Reader, ReadOptions
from trainers.preferences.records import Candidate, Listwise
from trainers.preferences.tally import Tally

LABEL_KEYS = frozenset({"answer", "score", "scores", "rank"})


def _candidate(entry: Any, name: str, ranked: bool) -> Candidate:
    if not isinstance(entry, dict):
        raise BadLineError(f"{name}: an object is expected")
    if entry.get("answer") is None:
        raise BadLineError(f"{name}.answer: missing")
    key = "rank" if ranked else "score"
    if ranked and entry.get("rank") is None:
        raise BadLineError(f"{name}.rank: missing, though other candidates have one")
    value = entry.get(key)
    score = None if value is None else number(value, f"{name}.{key}")
    if ranked and score is not None:
        score = -score  # rank 1 is the best
    dimensions = by_dimension(entry, "scores", f"{name}.")
    if dimensions and score is None and not ranked:
        score = fmean(dimensions.values())
    source = {key: value for key, value in entry.items() if key not in LABEL_KEYS}
    answer = answer_messages(entry["answer"], f"{name}.answer")
    return Candidate(answer, score, source, dimensions)


class Candidates(Reader):
    summary = (
        "prompt, candidates of answer, score? (or rank?), scores? by dimension and where each came "
        "from; reference?"
    )

    def matches(self, values: Values) -> bool:
        return "prompt" in values and "candidates" in values

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        prompt = prompt_messages(required(values, "prompt"), "prompt")
        entries = items(values, "candidates")
        ranked = any(isinstance(entry, dict) and "rank" in entry for entry in entries)
        yield Listwise(
            prompt,
            tuple(_candidate(entry, f"candidates.{i}", ranked) for i, entry in enumerate(entries)),
            ordinal=ranked or values.get("ordinal") is True,
            references=references(values),
            subset=optional_text(values, "subset"),
        )


class Ranking(Reader):
    summary = "prompt, answers, and their ranks (1 is best, equal ranks tie) or scores"

    def matches(self, values: Values) -> bool:
        return "answers" in values and ("ranks" in values or "scores" in values)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        """`ranks` holds a rank an answer, 1 the best; `scores` a score an answer."""
        prompt = prompt_messages(required(values, "prompt"), "prompt")
        answers = [
            answer_messages(answer, f"answers.{i}")
            for i, answer in enumerate(items(values, "answers"))
        ]
        ordinal = "scores" not in values
        key = "ranks" if ordinal else "scores"
        numbers = [
            number(value, f"{key}.{i}")
            for i, value in enumerate(of_equal_length(values, key, len(answers), "answers"))
        ]
        candidates = tuple(
            Candidate(answer, -value if ordinal else value)
            for answer, value in zip(answers, numbers, strict=True)
        )
        yield Listwise(prompt, candidates, ordinal=ordinal, references=references(values))


class RewardBench2(Reader):
    summary = "RewardBench 2: prompt, lists of chosen and of rejected texts, subset"

    def matches(self, values: Values) -> bool:
        return all(
            isinstance(values.get(key), list)
            and len(values[key]) > 0
            and all(isinstance(answer, str) for answer in values[key])
            for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        """Right answers get score 1, wrong ones 0; the subset Ties has several right ones."""
        prompt = prompt_messages(text(values, "prompt"), "prompt")
        candidates = [
            Candidate(answer_messages(answer, f"{key}.{index}"), score)
            for key, score in (("chosen", 1.0), ("rejected", 0.0))
            for index, answer in enumerate(items(values, key))
        ]
        expected = optional_number(values, "total_completions")
        if expected is not None and expected != len(candidates):
            raise BadLineError(f"total_completions: {expected:g}, but there are {len(candidates)}")
        subset = optional_text(values, "subset")
        yield Listwise(prompt, tuple(candidates), ordinal=True, subset=subset)


class Logged(Reader):
    summary = "answers without any label: prompt and answer, or messages that end with the answer"

    def matches(self, values: Values) -> bool:
        if "prompt" in values:
            return "answer" in values or "completion" in values
        messages = values.get("messages")
        return (
            isinstance(messages, list)
            and len(messages) > 1
            and isinstance(messages[-1], dict)
            and messages[-1].get("role") == "assistant"
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        if "prompt" in values:
            key = "answer" if "answer" in values else "completion"
            prompt = prompt_messages(values["prompt"], "prompt")
            answer = answer_messages(required(values, key), key)
        else:
            messages = chat_messages(required(values, "messages"), "messages")
            if messages[-1]["role"] != "assistant":
                raise BadLineError("messages: the last message must be the assistant's")
            prompt = prompt_messages(messages[:-1], "messages")
            answer = messages[-1:]
        yield Listwise(prompt, (Candidate(answer),), references=references(values))
