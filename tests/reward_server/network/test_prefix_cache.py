from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from reward_server.network.prefix_cache import BLOCK, Prefix, PrefixCache

BYTES = 2 * 2 * 4 * 4
"""Of one token: two layers of keys and values, four numbers of four bytes each."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def prefix(ids: tuple[int, ...]) -> Prefix:
    pair = (torch.zeros(1, 1, len(ids), 4), torch.zeros(1, 1, len(ids), 4))
    return Prefix(ids, (pair, pair))


def cache(tokens: int = 1000, clock: Clock | None = None) -> PrefixCache:
    return PrefixCache(tokens * BYTES, 10.0, clock=clock or Clock())


def test_as_much_is_found_as_is_shared() -> None:
    kept = cache()
    ids = tuple(range(40))
    kept.add(prefix(ids))
    assert kept.known(ids) == 40
    assert kept.known((*ids, 1, 2)) == 40
    assert kept.known(ids[:35]) == 35
    assert kept.known((*ids[:20], 99, *ids[21:])) == 20
    assert kept.known((99, *ids[1:])) == 0
    found = kept.find((*ids, 1))
    assert found is not None
    assert (found[0].ids, found[1]) == (ids, 40)


def test_too_little_in_common_is_not_found() -> None:
    kept = cache()
    ids = tuple(range(40))
    kept.add(prefix(ids))
    assert kept.known(ids[: BLOCK - 1]) == 0
    assert kept.known(ids[:BLOCK]) == BLOCK
    kept.add(prefix(tuple(range(100, 100 + BLOCK - 1))))
    assert kept.size()[0] == 1


def test_the_longest_of_several_is_found() -> None:
    kept = cache()
    short, long = (1,) * 20, (1,) * 20 + (2,) * 20
    other = (1,) * 20 + (3,) * 20
    kept.add(prefix(short))
    kept.add(prefix(long))
    kept.add(prefix(other))
    assert kept.known((*long, 5)) == 40
    assert kept.known((*other, 5)) == 40


def test_a_longer_one_takes_the_place_of_its_beginning() -> None:
    kept = cache()
    kept.add(prefix((1,) * 20))
    kept.add(prefix((1,) * 50))
    assert kept.size() == (1, 50 * BYTES)
    kept.add(prefix((1,) * 50))
    assert kept.size() == (1, 50 * BYTES)


def test_the_least_recently_used_goes_first() -> None:
    kept = cache(tokens=60)
    first, second, third = ((mark,) * 20 for mark in (1, 2, 3))
    for ids in (first, second, third):
        kept.add(prefix(ids))
    kept.find(first)
    kept.add(prefix((4,) * 20))
    assert [kept.known(ids) for ids in (first, second, third)] == [20, 0, 20]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    kept = cache(tokens=60)
    assert kept.keeps(10_000), "no token has been kept yet, so its size is unknown"
    kept.add(prefix((1,) * 20))
    assert kept.keeps(60)
    assert not kept.keeps(61)
    kept.add(prefix((2,) * 61))
    assert kept.known((1,) * 20) == 20
    assert kept.size()[0] == 1


def test_no_prompt_is_kept_beyond_a_window_or_in_no_memory() -> None:
    assert PrefixCache(1 << 20, 10.0, longest=40).keeps(40)
    assert not PrefixCache(1 << 20, 10.0, longest=40).keeps(41)
    assert not PrefixCache(0, 10.0).keeps(40)


def test_what_is_not_used_for_long_goes() -> None:
    clock = Clock()
    kept = cache(clock=clock)
    kept.add(prefix((1,) * 20))
    kept.add(prefix((2,) * 20))
    clock.now = 6.0
    kept.find((1,) * 20)
    clock.now = 10.0
    kept.expire()
    assert [kept.known((mark,) * 20) for mark in (1, 2)] == [20, 0]
    clock.now = 20.0
    kept.expire()
    assert kept.size() == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), max_size=50)), max_size=40))
def test_whatever_comes_the_bounds_hold_and_nothing_false_is_found(
    steps: list[tuple[bool, list[int]]],
) -> None:
    kept = cache(tokens=70)
    for add, more in steps:
        ids = (0,) * (BLOCK - 2) + tuple(more)
        if add:
            kept.add(prefix(ids))
        assert kept.size()[1] <= 70 * BYTES
        found = kept.find(ids)
        if found is not None:
            entry, tokens = found
            assert entry.ids[:tokens] == ids[:tokens]
            assert tokens >= BLOCK
    kept.clear()
    assert (*kept.size(), kept._by_block) == (0, 0, {})
