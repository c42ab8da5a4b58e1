"""The order of an epoch: batches of like length, mixed, the longest first."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from datasets import Dataset

from trainers.runtime.order import EpochOrder, lengths_of

LENGTHS = random.Random(1).choices(range(5, 400), k=803)
SIZE = 8


def batches(order: EpochOrder, size: int = SIZE) -> list[list[int]]:
    places = list(order)
    return [places[start : start + size] for start in range(0, len(places), size)]


def order_of(lengths: list[int], *, seed: int = 3, epoch: int = 0, size: int = SIZE) -> EpochOrder:
    return EpochOrder(lengths, size, seed, lambda: epoch)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100, 803])
def test_every_record_comes_once(count: int) -> None:
    assert sorted(order_of(LENGTHS[:count])) == list(range(count))


def test_batches_hold_records_of_like_length() -> None:
    padded = sum(SIZE * max(LENGTHS[one] for one in batch) for batch in batches(order_of(LENGTHS)))
    assert padded < 1.15 * sum(LENGTHS)
    # Without any order it would be far more.
    mixed = [LENGTHS[start : start + SIZE] for start in range(0, len(LENGTHS), SIZE)]
    assert sum(SIZE * max(batch) for batch in mixed) > 1.6 * sum(LENGTHS)


def test_the_longest_record_is_in_the_first_batch() -> None:
    assert max(LENGTHS) in [LENGTHS[one] for one in batches(order_of(LENGTHS))[0]]


def test_the_other_batches_come_mixed() -> None:
    longest = [max(LENGTHS[one] for one in batch) for batch in batches(order_of(LENGTHS))[1:-1]]
    falls = sum(one > next_one for one, next_one in pairwise(longest))
    assert 0.3 < falls / len(longest) < 0.7


def test_seed_and_epoch_decide() -> None:
    first = list(order_of(LENGTHS))
    assert list(order_of(LENGTHS)) == first
    assert list(order_of(LENGTHS, epoch=1)) != first
    assert list(order_of(LENGTHS, seed=4)) != first


def test_the_length_of_a_row_counts_before_that_of_an_answer() -> None:
    rows = {"input_ids": [[1, 2], [1]], "length": [5, 6]}
    assert lengths_of(Dataset.from_dict(rows)) == [5, 6]
    assert lengths_of(Dataset.from_dict(rows | {"row_length": [9, 7]})) == [9, 7]
    assert lengths_of(Dataset.from_dict({"input_ids": [[1, 2], [1]]})) == [2, 1]
