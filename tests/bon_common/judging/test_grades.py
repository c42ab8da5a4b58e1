from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.grades import expectation, grade_place, levels_of

TWENTY = levels_of(20)


def test_twenty_levels_are_the_letters_from_a_to_u_without_i() -> None:
    assert TWENTY == "ABCDEFGHJKLMNOPQRSTU"


def test_it_is_the_mean_over_the_levels_seen() -> None:
    grade, mass = expectation({"A": 0.25, "C": 0.25, "Well": 0.5}, "ABC")
    assert grade == pytest.approx(0.5)
    assert mass == pytest.approx(0.5)


def test_without_a_level_there_is_no_mass() -> None:
    assert expectation({"Well": 1.0}, "ABC")[1] == 0


@given(st.dictionaries(st.sampled_from([*TWENTY, "x", ""]), st.floats(0, 1)))
def test_it_lies_between_the_worst_and_the_best_level_seen(chances: dict[str, float]) -> None:
    grade, mass = expectation(chances, TWENTY)
    seen = [place for place, level in enumerate(TWENTY) if chances.get(level, 0) > 0]
    assert (mass > 0) == bool(seen)
    if seen:
        assert seen[0] / 19 - 1e-9 <= grade <= seen[-1] / 19 + 1e-9


@given(st.lists(st.floats(0.001, 1), min_size=20, max_size=20), st.floats(0.01, 1))
def test_the_mass_of_the_levels_does_not_matter(weights: list[float], scale: float) -> None:
    whole = dict(zip(TWENTY, weights, strict=True))
    part = {level: chance * scale for level, chance in whole.items()}
    assert expectation(part, TWENTY)[0] == pytest.approx(expectation(whole, TWENTY)[0])


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        (" **C**.", "C"),
        ('"C"', "C"),
        ("Grade: C", "C"),
        ("The grade is C because it is dull.", "C"),
        ("It is [[A]] at first. No: [[C]]", "C"),
        ("[[A]] and then Grade: C", "A"),
        ("A good answer.", None),
        ("I would say C", None),
        ("c", None),
        ("Z", None),
        ("", None),
        ("10", None),
        ("Grade: great", None),
    ],
)
def test_the_letter_of_a_grade(text: str, letter: str | None) -> None:
    place = grade_place(text, TWENTY)
    assert (None if place is None else text[place]) == letter
