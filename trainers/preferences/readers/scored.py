"""Formats in which answers carry scores of their own."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from trainers.base.lines import BadLineError
from trainers.base.messages import answer_messages, prompt_messages
from trainers.preferences.readers.fields import Values, by_dimension, items, number, required, text
from trainers.preferences.readers.options import Reader, ReadOptions
from trainers.preferences.records import Candidate, Listwise, Pointwise
from trainers.preferences.tally import Tally


class PointwiseScore(Reader):
    summary = "prompt, answer (or completion), score (or scores by dimension); grouped by prompt"

    def matches(self, values: Values) -> bool:
        scored = "score" in values or isinstance(values.get("scores"), dict)
        return scored and ("answer" in values or "completion" in values)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pointwise]:
        key = "answer" if "answer" in values else "completion"
        dimensions = by_dimension(values, "scores")
        yield Pointwise(
            prompt_messages(required(values, "prompt"), "prompt"),
            answer_messages(required(values, key), key),
            fmean(dimensions.values())
            if dimensions
            else number(required(values, "score"), "score"),
            dimensions,
        )


class UltraFeedback(Reader):
    summary = "UltraFeedback: instruction, completions of response and overall_score"

    def matches(self, values: Values) -> bool:
        return "instruction" in values and isinstance(values.get("completions"), list)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        prompt = prompt_messages(text(values, "instruction"), "instruction")
        candidates = []
        for index, completion in enumerate(items(values, "completions")):
            name = f"completions.{index}"
            if not isinstance(completion, dict):
                raise BadLineError(f"{name}: an object is expected")
            if not isinstance(completion.get("response"), str):
                raise BadLineError(f"{name}.response: missing")
            score = completion.get("overall_score")
            model = completion.get("model")
            candidates.append(
                Candidate(
                    answer_messages(completion["response"], f"{name}.response"),
                    None if score is None else number(score, f"{name}.overall_score"),
                    {"policy": model} if isinstance(model, str) else {},
                )
            )
        yield Listwise(prompt, tuple(candidates))
