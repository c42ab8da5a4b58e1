"""Reads pairs and the benchmarks as they are published, and has them scored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, Field, field_validator, model_validator

from trainers.base.data import Message, Pair, PromptedRecord, read_placed
from trainers.base.errors import DataError
from trainers.evaluation import reward_bench, reward_bench_2
from trainers.evaluation.accuracy import ScoredPair
from trainers.rewards.scorer import RewardScorer


class SectionPair(Pair):
    """A pair that may belong to a section."""

    section: str | None = Field(None, validation_alias=AliasChoices("section", "subset"))


class BenchRecord(PromptedRecord):
    """A line of a benchmark; a text as its prompt stands for a single message."""

    subset: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_is_the_users(cls, value: Any) -> Any:
        return [{"role": "user", "content": value}] if isinstance(value, str) else value


class BenchPair(BenchRecord):
    """A line of RewardBench or its prior test sets."""

    chosen: str
    rejected: str


class BenchOptions(BenchRecord):
    """A line of RewardBench 2: right and wrong answers to one prompt."""

    id: str = Field(coerce_numbers_to_str=True)
    chosen: list[str] = Field(min_length=1)
    rejected: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _ties_are_named(self) -> "BenchOptions":
        if self.subset.lower() == reward_bench_2.TIES:
            kind, colon, number = self.id.partition(":")
            if kind not in ("ref", "tied") or not colon or not number:
                raise ValueError("id: in Ties it must be ref:N or tied:N")
        return self


def scored_pairs(scorer: RewardScorer, path: Path) -> list[ScoredPair]:
    """Both rewards of every pair of a file, in its order."""
    scored = _scored(scorer, path, SectionPair, lambda pair: (pair.chosen, pair.rejected))
    return [
        ScoredPair(chosen, rejected, pair.margin, pair.section)
        for pair, (chosen, rejected) in scored
    ]


def run_reward_bench(
    scorer: RewardScorer, path: Path, prior: Path | None = None
) -> reward_bench.RewardBench:
    """RewardBench on a local file; DataError for a bad line, or a file of something else."""
    wins = _wins(scorer, path)
    others = [] if prior is None else _wins(scorer, prior)
    try:
        return reward_bench.RewardBench.of(wins, others)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _wins(scorer: RewardScorer, path: Path) -> list[tuple[str, bool]]:
    scored = _scored(scorer, path, BenchPair, lambda pair: _answers([pair.chosen, pair.rejected]))
    return [(pair.subset, chosen > rejected) for pair, (chosen, rejected) in scored]


def run_reward_bench_2(scorer: RewardScorer, path: Path) -> reward_bench_2.RewardBench2:
    """RewardBench 2 on a local file; DataError for a bad line, or Ties that are not whole."""
    scored = _scored(scorer, path, BenchOptions, lambda one: _answers(one.chosen + one.rejected))
    items = [
        reward_bench_2.Item(
            one.id, one.subset, right=rewards[: len(one.chosen)], wrong=rewards[len(one.chosen) :]
        )
        for one, rewards in scored
    ]
    try:
        return reward_bench_2.RewardBench2.of(items)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _answers(texts: Sequence[str]) -> list[list[Message]]:
    return [[Message(role="assistant", content=text)] for text in texts]


Line = TypeVar("Line", SectionPair, BenchPair, BenchOptions)


def _scored(
    scorer: RewardScorer,
    path: Path,
    kind: type[Line],
    answers: Callable[[Line], Sequence[list[Message]]],
) -> list[tuple[Line, list[float]]]:
    """Each record of a file with the rewards of its answers."""
    records = read_placed(kind, path)
    rewards = iter(
        scorer.rewards(
            [
                (where, one.asked.answered(answer))
                for where, one in records
                for answer in answers(one)
            ]
        )
    )
    return [(one, [next(rewards) for _ in answers(one)]) for _, one in records]
