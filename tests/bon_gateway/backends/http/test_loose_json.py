"""JSON that is nearly right is read, and what is wrong in it cannot be written again."""

from __future__ import annotations

import orjson
import pytest

from bon_gateway.backends.http.loose_json import read_loosely


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b"1e999", b"-" + b"9" * 400, b"9" * 5000, b'"\\ud800"', b'"\xff"'],
)
def test_a_wrong_value_cannot_be_written(value: bytes) -> None:
    read = read_loosely(b'{"good": [1, "x"], "bad": %b}' % value)
    assert read["good"] == [1, "x"]
    assert not isinstance(read["bad"], int | float)
    with pytest.raises(TypeError):
        orjson.dumps(read["bad"])


@pytest.mark.parametrize(
    "integer", [b"7", b"-9223372036854775808", b"18446744073709551615", b"9" * 30]
)
def test_an_integer_is_what_strict_json_makes_of_it(integer: bytes) -> None:
    (read, _) = read_loosely(b"[%b, NaN]" % integer)
    assert (type(read), read) == (type(orjson.loads(integer)), orjson.loads(integer))


@pytest.mark.parametrize("payload", [b"", b"{", b"nonsense", b"[" * 200_000])
def test_what_is_not_even_nearly_json_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  JSON's own, which has no other type
        read_loosely(payload)
