"""Reads pairs and the benchmarks as they are published, and has them scored."""

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, field_validator, model_validator

from trainers.base.data import Message, Messages, Pair, Record, read_placed
from trainers.base.errors import DataError
from trainers.evaluation import reward_bench, reward_bench_2
from trainers.evaluation.accuracy import Scored
from trainers.rewards.scorer import Placed, Scorer


class SectionPair(Pair):
    """A pair that may belong to a section."""

    section: str | None = Field(None, validation_alias=AliasChoices("section", "subset"))


class BenchPair(Record):
    """A line of RewardBench or its prior test sets; texts stand for single messages."""

    prompt: Messages
    chosen: str
    rejected: str
    subset: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_is_the_users(cls, value: Any) -> Any:
        return _as_prompt(value)


class BenchOptions(Record):
    """A line of RewardBench 2: right and wrong answers to one prompt."""

    id: str = Field(coerce_numbers_to_str=True)
    prompt: Messages
    chosen: list[str] = Field(min_length=1)
    rejected: list[str] = Field(min_length=1)
    subset: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_is_the_users(cls, value: Any) -> Any:
        return _as_prompt(value)

    @model_validator(mode="after")
    def _ties_are_named(self) -> "BenchOptions":
        if self.subset.lower() == reward_bench_2.TIES:
            kind, colon, number = self.id.partition(":")
            if kind not in ("ref", "tied") or not colon or not number:
                raise ValueError("id: in Ties it must be ref:N or tied:N")
        return self


def _as_prompt(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _answered(prompt: Messages, text: str) -> list[Message]:
    return [*prompt, Message(role="assistant", content=text)]


def scored_pairs(scorer: Scorer, path: Path) -> list[Scored]:
    """Both rewards of every pair of a file, in its order."""
    records = read_placed(SectionPair, path)
    placed: list[Placed] = [
        (where, pair.prompt + answer)
        for where, pair in records
        for answer in (pair.chosen, pair.rejected)
    ]
    rewards = scorer.rewards(placed)
    return [
        Scored(chosen, rejected, pair.margin, pair.section)
        for (_, pair), chosen, rejected in zip(records, rewards[::2], rewards[1::2], strict=True)
    ]


def run_reward_bench(
    scorer: Scorer, path: Path, prior: Path | None = None
) -> reward_bench.RewardBench:
    """RewardBench on a local file; DataError for a bad line, or a file of something else."""
    wins = _wins(scorer, path)
    others = [] if prior is None else _wins(scorer, prior)
    try:
        return reward_bench.aggregate(wins, others)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _wins(scorer: Scorer, path: Path) -> list[tuple[str, bool]]:
    records = read_placed(BenchPair, path)
    placed = [
        (where, _answered(pair.prompt, text))
        for where, pair in records
        for text in (pair.chosen, pair.rejected)
    ]
    rewards = scorer.rewards(placed)
    return [
        (pair.subset, chosen > rejected)
        for (_, pair), chosen, rejected in zip(records, rewards[::2], rewards[1::2], strict=True)
    ]


def run_reward_bench_2(scorer: Scorer, path: Path) -> reward_bench_2.RewardBench2:
    """RewardBench 2 on a local file; DataError for a bad line, or Ties that are not whole."""
    records = read_placed(BenchOptions, path)
    placed = [
        (where, _answered(options.prompt, text))
        for where, options in records
        for text in (*options.chosen, *options.rejected)
    ]
    rewards = iter(scorer.rewards(placed))
    items = [
        reward_bench_2.Item(
            options.id,
            options.subset,
            right=[next(rewards) for _ in options.chosen],
            wrong=[next(rewards) for _ in options.rejected],
        )
        for _, options in records
    ]
    try:
        return reward_bench_2.aggregate(items)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
