"""Data sets as their authors publish them: Nectar, HelpSteer, PKU-SafeRLHF, LLMBar, distilabel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.preferences.readers import fields
from trainers.preferences.readers.context import with_context
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.gap import TIES
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import ListedAnswer, Listwise, Pairwise, Pointwise
from trainers.preferences.tally import Tally


class NectarReader(FormatReader):
    """Nectar: prompt (a transcript), answers of answer, model and rank (1 is best)."""

    harmless = frozenset({"turns", "num_responses"})

    def matches(self, values: Values) -> bool:
        answers = values.get("answers")
        return (
            isinstance(answers, list)
            and bool(answers)
            and all(isinstance(one, dict) and "rank" in one for one in answers)
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        prompt = fields.prompt(values)
        candidates = []
        for index, one in enumerate(fields.objects(values, "answers")):
            name = f"answers.{index}"
            if not isinstance(one.get("answer"), str):
                raise BadLineError(f"{name}.answer: missing")
            rank = fields.number(one.get("rank"), f"{name}.rank")
            model = one.get("model")
            answer = fields.listed_answer(one, "answer", one["answer"].strip(), f"{name}.answer")
            source = {"policy": model} if isinstance(model, str) else {}
            candidates.append(ListedAnswer(answer, -rank, source))
        yield Listwise(prompt, tuple(candidates), ordinal=True)


_STEER_TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def _steer_prompt(values: Values) -> list[Message]:
    """The prompt, which HelpSteer2 parts into turns by `<extra_id_1>`."""
    text = values.get("prompt")
    if not isinstance(text, str) or not _STEER_TURN.search(text):
        return fields.prompt(values)
    first, *rest = _STEER_TURN.split(text)
    said = [("User", first), *zip(rest[::2], rest[1::2], strict=True)]
    if said[-1] == ("Assistant", ""):
        said.pop()
    roles = {"User": "user", "Assistant": "assistant"}
    messages = [Message(role=roles[who], content=words) for who, words in said]
    if messages[-1]["role"] != "user":
        raise BadLineError("prompt: the last turn must be the user's")
    return with_context(values, messages)


class HelpSteer2Reader(FormatReader):
    """HelpSteer and HelpSteer2: prompt, response, helpfulness, correctness, coherence, complexity,
    verbosity (0 to 4)."""

    aspects: ClassVar[tuple[str, ...]] = (
        *("helpfulness", "correctness", "coherence", "complexity", "verbosity"),
    )
    keys = ("prompt", "response", *aspects)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pointwise]:
        """The score is helpfulness: a long or complex answer is not a better one."""
        ratings = {
            name: fields.number(fields.required(values, name), name) for name in self.aspects
        }
        answer = fields.answer(values, "response")
        yield Pointwise(_steer_prompt(values), answer, ratings["helpfulness"], ratings)


class HelpSteer3Reader(FormatReader):
    """HelpSteer3: context (messages), response1, response2, overall_preference (-3: the first is
    much better, to 3); HelpSteer2's preferences: prompt, response_1, response_2,
    preference_strength."""

    older: ClassVar[tuple[str, ...]] = ("prompt", "response_1", "response_2", "preference_strength")
    keys = ("context", "response1", "response2", "overall_preference")

    def matches(self, values: Values) -> bool:
        return super().matches(values) or all(key in values for key in self.older)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        asked, first, second, strength = self.older if self.older[-1] in values else self.keys
        prompt = _steer_prompt(values) if asked == "prompt" else fields.prompt(values, asked)
        answers = fields.answer(values, first), fields.answer(values, second)
        preference = fields.number(fields.required(values, strength), strength)
        if not -3 <= preference <= 3:
            raise BadLineError(f"{strength}: a number from -3 to 3 is expected")
        yield from _preferred(prompt, answers, preference, tally)


def _preferred(
    prompt: list[Message], answers: Sequence[list[Message]], second_by: float, tally: Tally
) -> Iterator[Pairwise]:
    """The pair of two answers. The second is better by this much."""
    first, second = answers
    if second_by == 0:
        tally.drop(TIES)
    elif second_by < 0:
        yield Pairwise(prompt, first, second, -second_by)
    else:
        yield Pairwise(prompt, second, first, second_by)


class SafeRlhfReader(FormatReader):
    """PKU-SafeRLHF: prompt, response_0, response_1, better_response_id, safer_response_id?."""

    keys = ("prompt", "response_0", "response_1", "better_response_id")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        """The better answer is the more helpful one; which is safer stays beside it."""
        answers = fields.answer(values, "response_0"), fields.answer(values, "response_1")
        better = _place(values, "better_response_id", (0, 1))
        dimensions = {"helpful": 1}
        if values.get("safer_response_id") is not None:
            safer = _place(values, "safer_response_id", (0, 1))
            dimensions["safe"] = 1 if safer == better else -1
        prompt = fields.prompt(values)
        yield Pairwise(prompt, answers[better], answers[1 - better], dimensions=dimensions)


class LlmBarReader(FormatReader):
    """LLMBar: input, output_1, output_2, label (1 or 2), subset?."""

    keys = ("input", "output_1", "output_2", "label")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        answers = fields.answer(values, "output_1"), fields.answer(values, "output_2")
        better = _place(values, "label", (1, 2))
        subset = fields.optional_text(values, "subset")
        prompt = fields.prompt(values, "input")
        yield Pairwise(prompt, answers[better], answers[1 - better], subset=subset)


def _place(values: Values, key: str, names: tuple[int, int]) -> int:
    """Which of two answers `key` names."""
    found = fields.number(fields.required(values, key), key)
    if found not in names:
        raise BadLineError(f"{key}: {names[0]} or {names[1]} is expected")
    return names.index(int(found))


class DistilabelReader(FormatReader):
    """distilabel: instruction (or prompt, input), generations, ratings (or rating)."""

    def matches(self, values: Values) -> bool:
        return (
            fields.prompt_key(values) in values
            and isinstance(values.get("generations"), list)
            and isinstance(values.get(_ratings(values)), list)
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        prompt = fields.prompt(values, fields.prompt_key(values))
        texts = fields.items(values, "generations")
        key = _ratings(values)
        ratings = fields.of_equal_length(values, key, len(texts), "generations")
        models: Any = values.get("generation_models")
        if not isinstance(models, list) or len(models) != len(texts):
            models = [None] * len(texts)
        candidates = []
        for index, (text, rating, model) in enumerate(zip(texts, ratings, models, strict=True)):
            if text is None:
                tally.drop("generations that failed")
                continue
            answer = fields.listed_answer(values, "generations", text, f"generations.{index}")
            score = None if rating is None else fields.number(rating, f"{key}.{index}")
            source = {"policy": model} if isinstance(model, str) else {}
            candidates.append(ListedAnswer(answer, score, source))
        if candidates:
            yield Listwise(prompt, tuple(candidates))


def _ratings(values: Values) -> str:
    return "ratings" if "ratings" in values else "rating"
