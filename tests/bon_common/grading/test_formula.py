"""Formulas over grades."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.grading.formula import MOST_LEVELS, Formula

VALUES = {"a": 0.5, "b": 2.0, "right_1": 1.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 0.5),
        ("0.7 * a + 0.3 * b", 0.95),
        ("1 - 2 - 3", -4),
        ("8 / 4 / 2", 1),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("-a * -b", 1),
        ("-b ^ 2", -4),
        ("b ^ 3 ^ 2", 512),
        ("b ^ -1", 0.5),
        ("1.5e1 + .5", 15.5),
        ("min(a, b, 0.1) + max(a, b)", 2.1),
        ("floor(1.7) + ceil(1.2) + abs(-1)", 4),
        ("sqrt(4) + log(exp(1))", 3),
        ("right_1", 1),
    ],
)
def test_values(text: str, value: float) -> None:
    assert Formula(text).value(VALUES) == pytest.approx(value)


def test_the_names_that_it_needs() -> None:
    assert Formula("max(a, 2 * b) - min(a, 1)").names == {"a", "b"}


@pytest.mark.parametrize("text", ["a / (b - 2)", "(0 - b) ^ a", "exp(1000)", "log(0)", "10^400"])
def test_what_has_no_finite_value_has_none(text: str) -> None:
    assert Formula(text).value(VALUES) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it ends too soon"),
        ("a +", "it ends too soon"),
        ("a b", "'b' is not expected there"),
        ("(a", "a '\\)' is missing"),
        ("a * / b", "'/' is not expected there"),
        ("a.__class__", "'.' is not expected there"),
        ("__import__('os')", "'\\'' is not expected there|\"'\" is not expected there"),
        ("open(a)", "there is no function 'open'"),
        ("abs(a, b)", "abs takes 1 numbers"),
        ("min(a)", "min takes two or more"),
        ("a; b", "';' is not expected there"),
        ("(" * (MOST_LEVELS + 1) + "a" + ")" * (MOST_LEVELS + 1), "more than 50 levels"),
        ("a ^ " * (MOST_LEVELS + 1) + "a", "more than 50 levels"),
        ("a + " * 600 + "a", "longer than 2000 characters"),
    ],
)
def test_what_is_no_formula(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Formula(text)


@given(st.text(alphabet="ab12.+-*/^(), min", max_size=40))
def test_any_text_is_a_formula_or_a_value_error(text: str) -> None:
    try:
        formula = Formula(text)
    except ValueError:
        return
    values = dict.fromkeys(formula.names, 0.5)
    value = formula.value(values)
    assert value is None or math.isfinite(value)
    assert Formula(f"({text})").value(values) == value
