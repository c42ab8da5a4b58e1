"""JSON that is nearly right is read, and what is wrong in it cannot be written again."""

from __future__ import annotations

import orjson
import pytest

from bon_gateway.backends.loose_json import read_loosely


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e999", b'"\\ud800"', b'"\xff"'])
def test_a_wrong_value_cannot_be_written(value: bytes) -> None:
    read = read_loosely(b'{"good": [1, "x"], "bad": %b}' % value)
    assert read["good"] == [1, "x"]
    with pytest.raises(TypeError):
        orjson.dumps(read["bad"])


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"nonsense", b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_what_is_not_even_nearly_json_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  JSON's own, which has no other type
        read_loosely(payload)
