from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.boxed import boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ \frac{1} {2} }", r"\frac{1}{2}"),
        (r"\boxed{12.0}", "12"),
        (r"\boxed{$1,234.50$}", "1234.5"),
        (r"\boxed{1{,}234}", "1234"),
        (r"\boxed{12\,345}", "12345"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{x\right."),
        (r"{ \boxed{3} ", "3"),
        (r"} \boxed{3} }", "3"),
        (r"\boxed{3} \boxed{4", "3"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        ("42", None),
    ],
)
def test_the_last_box(text: str, content: str | None) -> None:
    assert boxed(text) == content


nested = st.recursive(
    st.sampled_from(["x", "7", r"\{", r"\}", r"\frac"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda p: "{" + "".join(p) + "}"),
    max_leaves=8,
)


@given(nested, st.text("{ab \\", max_size=5))
def test_any_nesting(content: str, before: str) -> None:
    before = before.rstrip("\\")
    if content == "7":
        assert boxed(rf"{before} \boxed{{7}}") == "7"
    assert boxed(rf"{before} \boxed{{{content}}} so") == content


@pytest.mark.parametrize("part", [r"\boxed{", "{", "\\", "}", r"\boxed{}", r"\boxed "])
def test_no_text_takes_long(part: str) -> None:
    started = time.process_time()
    boxed(r"\boxed{" + part * MOST_SEARCHED)
    boxed((r"\boxed{" + part * MOST_SEARCHED)[:MOST_SEARCHED])
    assert time.process_time() - started < 1
