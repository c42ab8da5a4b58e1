from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.numbers import last_number, whole_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", "1234.5"),
        ("It costs $12.", "12"),
        ("x = -3", "-3"),
        ("(-3)", "-3"),
        ("12.0", "12"),
        ("007", "7"),
        ("-0.0", "0"),
        ("-$5", "-5"),
        ("$-5$", "-5"),
        (r"\$1,000,000", "1000000"),
        ("\u22127", "-7"),
        (".5", "0.5"),
        ("0.10", "0.1"),
        ("1e5.", "100000"),
        ("2.50E-1", "0.25"),
        ("First 3, then 4 apples", "4"),
        ("10-3", "3"),
        ("5-10", "10"),
        ("f(2)-1", "1"),
        ("COVID-19", "19"),
        ("1,2,3", "3"),
        ("1,234,5678", "5678"),
        ("1/2", "2"),
        ("50%", "50"),
        ("**42**", "42"),
        ("9" * 40 + ".5", "9" * 40 + ".5"),
        ("\u0663", "3"),
        ("\u20137", "-7"),
        ("(\u20137 \u00b0C)", "-7"),
        ("pages 3\u20135", "5"),
        ("$\u22125", "-5"),
        ("1e\u22123", "0.001"),
        ("1e999", "1" + "0" * 999),
        ("7, then 1e1000", None),
        ("1e-1000", None),
        ("1e0005", "100000"),
        ("none", None),
        ("", None),
        ("-", None),
    ],
)
def test_the_last_number_by_its_value(text: str, value: str | None) -> None:
    assert last_number(text) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_however_it_is_written(number: Decimal) -> None:
    found = last_number(f"The answer is {number:,}.")
    assert found is not None
    assert Decimal(found) == number
    assert found == last_number(f"The answer is {number:f}00") == whole_number(f"{number:f}")


@pytest.mark.parametrize("text", ["12 apples", "1 2", "", "1,23", "$"])
def test_a_whole_number_is_nothing_else(text: str) -> None:
    assert whole_number(text) is None


def test_a_long_text_is_searched_at_its_end() -> None:
    assert last_number("1" + " " * MOST_SEARCHED) is None
    assert last_number("1 2" + " " * (MOST_SEARCHED - 1)) == "2"
    assert last_number("9" * MOST_SEARCHED) == "9" * MOST_SEARCHED


@pytest.mark.parametrize("part", ["1,234", "1,", "-", "$", "1e", ".", "1e9999", ",111", "-$."])
def test_no_text_takes_long(part: str) -> None:
    started = time.process_time()
    last_number(part * MOST_SEARCHED)
    assert time.process_time() - started < 1
