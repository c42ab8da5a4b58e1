from __future__ import annotations

from bon_gateway.backends.cache.store import OVERHEAD, BoundedStore, digest_of


def key(name: str) -> bytes:
    return digest_of(name)


def test_the_least_recently_used_goes_first() -> None:
    dropped: list[None] = []
    store: BoundedStore[int] = BoundedStore(2, dropped=lambda: dropped.append(None))
    store.put(key("a"), 1)
    store.put(key("b"), 2)
    assert store.get(key("a")) == 1
    store.put(key("c"), 3)
    assert [store.get(key(name)) for name in "abc"] == [1, None, 3]
    assert (len(store), len(dropped)) == (2, 1)


def test_bytes_are_bounded_too() -> None:
    store: BoundedStore[str] = BoundedStore(100, size=3 * OVERHEAD + 30)
    for name in "abcd":
        store.put(key(name), name, 10)
    assert [store.get(key(name)) for name in "abcd"] == [None, "b", "c", "d"]
    assert store.bytes == 3 * (OVERHEAD + 10)
    store.put(key("e"), "e", 25)
    assert [store.get(key(name)) for name in "bcde"] == [None, None, "d", "e"]


def test_what_is_larger_than_all_is_not_held() -> None:
    store: BoundedStore[str] = BoundedStore(100, size=1000)
    store.put(key("a"), "a", 10)
    store.put(key("b"), "b", 2000)
    assert (store.get(key("a")), store.get(key("b"))) == ("a", None)


def test_a_new_value_takes_the_place_of_the_old_one() -> None:
    store: BoundedStore[str] = BoundedStore(100, size=1000)
    store.put(key("a"), "old", 100)
    store.put(key("a"), "new", 10)
    assert store.get(key("a")) == "new"
    assert (len(store), store.bytes) == (1, OVERHEAD + 10)


def test_nothing_is_held_longer_than_its_life() -> None:
    now = 0.0
    store: BoundedStore[str] = BoundedStore(100, life_s=10, clock=lambda: now)
    store.put(key("a"), "a")
    now = 9.9
    assert store.get(key("a")) == "a"
    now = 10.0
    assert store.get(key("a")) is None
    assert (len(store), store.bytes) == (0, 0)


def test_parts_do_not_run_together() -> None:
    found = {
        digest_of("ab", "c"),
        digest_of("a", "bc"),
        digest_of("abc"),
        digest_of(["ab", "c"]),
        digest_of("1"),
        digest_of(1),
        digest_of(None),
        digest_of(),
    }
    assert len(found) == 8
    assert digest_of("ab", {"c": 1}) == digest_of("ab", {"c": 1})
