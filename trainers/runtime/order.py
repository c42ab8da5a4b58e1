"""The order in which an epoch takes the records: a function of seed and epoch alone.

TRL's own sampler draws from torch's global generator, so that a resumed run would see an epoch in
another order than the run that it continues.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


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
        indices: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self._lengths, self._batch_size, generator=generator
        )
        return iter(indices)


def lengths_of(dataset: Any) -> list[int]:
    """Tokens of each record: its `length` column, or the number of its `input_ids`."""
    if "length" in dataset.column_names:
        return list(dataset["length"])
    return [len(ids) for ids in dataset["input_ids"]]
