from __future__ import annotations

import pytest

from bon_common.patterns import compile_pattern


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)", "(?<!a)b", "a{2000}", "\\"])
def test_what_the_engine_does_not_take_has_its_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w{4,}"):
        compile_pattern(pattern)


def test_nothing_is_written_past_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="perl operator"):
        compile_pattern("(?=nothing)")
    assert "nothing" not in capfd.readouterr().err


def test_positions_are_those_of_characters() -> None:
    assert [m.span() for m in compile_pattern("b+").finditer("é\U0001f9f8bb é b")] == [
        (2, 4),
        (7, 8),
    ]
