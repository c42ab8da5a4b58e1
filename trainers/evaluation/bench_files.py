"""Reads the benchmarks as they are published, and has them scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from trainers.base.bad_lines import BadLines
from trainers.base.data import Message, VerifiableRecord, read_placed
from trainers.base.errors import DataError
from trainers.evaluation import reward_bench, reward_bench_2
from trainers.rewards.answers import AnswerScorer
from trainers.rewards.pairs import with_rewards


class BenchRecord(VerifiableRecord):
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


def run_reward_bench(
    scorer: AnswerScorer, path: Path, prior: Path | None = None, bad: BadLines | None = None
) -> reward_bench.RewardBench:
    """RewardBench on a local file; DataError for a bad line that `bad` does not count, or a file of
    something else."""
    wins = _wins(scorer, path, bad)
    others = [] if prior is None else _wins(scorer, prior, bad)
    try:
        return reward_bench.RewardBench.of(wins, others)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _wins(scorer: AnswerScorer, path: Path, bad: BadLines | None) -> list[tuple[str, bool]]:
    scored = with_rewards(
        scorer,
        read_placed(BenchPair, path, bad),
        lambda pair: _answers([pair.chosen, pair.rejected]),
        bad,
    )
    return [(pair.subset, chosen > rejected) for pair, (chosen, rejected) in scored]


def run_reward_bench_2(
    scorer: AnswerScorer, path: Path, bad: BadLines | None = None
) -> reward_bench_2.RewardBench2:
    """RewardBench 2 on a local file; DataError for a bad line that `bad` does not count, or Ties
    that are not whole."""
    scored = with_rewards(
        scorer,
        read_placed(BenchOptions, path, bad),
        lambda one: _answers(one.chosen + one.rejected),
        bad,
    )
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
