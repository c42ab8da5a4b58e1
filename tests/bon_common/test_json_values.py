from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bon_common import json_values as counting
from bon_common.json_values import most_values, next_slice, outside_texts, running_count

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text('a,[]{}"\\/é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text('",\\[', max_size=3), inner)
    ),
    max_leaves=40,
)


def counted(value: Any) -> int:
    """What the limit counts: the separators and the openings of the JSON, and one."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(counted, inner))
    return 0


@settings(max_examples=300, deadline=None)
@given(json_values, st.booleans(), st.integers(1, 40))
def test_values_are_counted_outside_of_texts(value: Any, ascii_only: bool, size: int) -> None:
    """Wherever the body is cut into slices."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    expected = counted(value)
    in_text, start, found = False, 0, 0
    while start < len(data):
        part, start = next_slice(data, start, size)
        outside, in_text = outside_texts(part, in_text)
        found += sum(outside.count(mark) for mark in (b",", b"[", b"{"))
    assert found == expected
    assert not in_text


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_a_running_count_ends_with_all_and_is_below_the_most(value: Any) -> None:
    data = json.dumps([value] * 3).encode()
    counts = list(running_count(data))
    assert counts == sorted(counts)
    assert counts[-1] == counted([value] * 3) + 1
    assert counts[-1] <= most_values(data)


def test_large_texts_are_counted_in_slices() -> None:
    data = json.dumps(["a"] * counting.SLICE).encode()
    counts = list(running_count(data))
    assert len(counts) > 4
    assert counts[-1] == counting.SLICE + 1
