"""The order in which an epoch takes the records: a function of seed and epoch alone.

TRL's own sampler draws from torch's global generator, so that a resumed run would see an epoch in
another order than the run that it continues.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

MOST_BATCHES = 50
"""Batches that one sorted part of an epoch makes. A longer part has less padding, and fewer ways to
put records together."""
LEAST_PARTS = 4


class EpochOrder(Sampler[int]):
    """Records of like length together, in batches of the whole update."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        """`lengths` in tokens, one a record; `epoch` is asked whenever an epoch begins."""
        self._lengths = list(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed * 1_000_003 + self._epoch())
        mixed = torch.randperm(len(self._lengths), generator=generator).tolist()
        size = self._batch_size
        part = size * max(1, min(MOST_BATCHES, len(mixed) // (size * LEAST_PARTS)))
        batches: list[list[int]] = []
        for start in range(0, len(mixed), part):
            alike = sorted(mixed[start : start + part], key=lambda one: -self._lengths[one])
            batches += (alike[begin : begin + size] for begin in range(0, len(alike), size))
        # A batch that is not full shifts all behind it, so it stays where it is.
        last = batches.pop() if batches and len(batches[-1]) < size else []
        # Mixed again: else each part of an epoch would end with nothing but short records.
        order = torch.randperm(len(batches), generator=generator).tolist()
        batches = [batches[place] for place in order]
        # The longest comes first, so that memory that does not suffice ends the run at once.
        first = max(batches, key=self._longest, default=[])
        others = (batch for batch in batches if batch is not first)
        return iter([one for batch in (first, *others, last) for one in batch])

    def _longest(self, batch: Sequence[int]) -> int:
        return max(self._lengths[one] for one in batch)


def lengths_of(dataset: Any) -> list[int]:
    """Tokens of each record: its `row_length` or `length` column, or the number of its
    `input_ids`."""
    for name in ("row_length", "length"):
        if name in dataset.column_names:
            return list(dataset[name])
    return [len(ids) for ids in dataset["input_ids"]]
