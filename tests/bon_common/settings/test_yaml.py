from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.settings.yaml import DEEPEST, LARGEST_TEXT, YamlError, read_yaml


def bomb(form: str) -> str:
    lines = ["a0: &a0 " + form.format("x: 1")]
    lines += [f"a{i}: &a{i} {form.format(f'a: *a{i - 1}, b: *a{i - 1}')}" for i in range(1, 40)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a {b: *a}", "line 1: it holds itself"),
        ("&a [*a]", "line 1: it holds itself"),
        ("a: &a {<<: *a}", "line 1: it holds itself"),
        (bomb("{{{}}}"), "it stands for more than"),
        (bomb("[{{{}}}]"), "it stands for more than"),
        ("[" * 5000, f"it is nested more than {DEEPEST} deep"),
        ("[" * 60 + "]" * 60, f"it is nested more than {DEEPEST} deep"),
        ("a: " + "1" * 5000, "is no int"),
        ("a: !!int x", "line 1: 'x' is no int"),
        ("a: !!float ''", "line 1: '' is no float"),
        ("a: !!bool x", "line 1: 'x' is no bool"),
        ("a: !!set {b}", "line 1: could not determine"),
        ("? [a]\n: b", "line 1: a key is no text"),
        ("1: 2", "line 1: the key 1 is no text; put it in quotes"),
        ("a: 1\na: 2", "line 2: the key 'a' is there twice"),
        ('a: "\\0"', "line 1: a text holds a null character"),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("x" * (LARGEST_TEXT + 1), "it is longer than"),
    ],
)
def test_what_no_settings_need_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_come_as_yaml_has_them() -> None:
    text = "a: &a {n: 1, f: .5, t: true, z: null}\nb: {<<: *a, n: 2}\nc: [*a]\nd: 2001-13-45"
    first = {"n": 1, "f": 0.5, "t": True, "z": None}
    expected = {"a": first, "b": {**first, "n": 2}, "c": [first], "d": "2001-13-45"}
    assert read_yaml(text) == expected
    assert read_yaml("# nothing") is None


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!<>|?'\"#%@`,.~ \n\t01_=\\")), max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    problem = ""
    try:
        read_yaml(text)
    except YamlError as error:
        problem = str(error)
    assert "\n" not in problem
