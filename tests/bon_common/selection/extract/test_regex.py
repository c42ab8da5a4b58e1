from __future__ import annotations

import time

import pytest

from bon_common.patterns import compile_pattern
from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.regex import matched


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"Answer: (\w+)", "Answer: B\nAnswer: C", "b"),
        (r"(?s).*Answer: (\w+)", "Answer: B\nAnswer: C", "c"),
        (r"(?s)<answer>(.*?)</answer>", "<answer>\n The  End </answer>", "the end"),
        (r"\b[A-D]\b", "It is C.", "c"),
        (r"(\w+)\s*$", "the last word ", "word"),
        ("(a)|b", "b", None),
        ("a*", "b", None),
        ("x", "no", None),
        (r"is (\w+)", "\ud800 is \u00e9t\u00e9", None),  # RE2's \w matches ASCII only
        (r"is (\S+)", "\ud800 is \u00e9t\u00e9", "\u00e9t\u00e9"),
    ],
)
def test_the_first_match(pattern: str, text: str, found: str | None) -> None:
    assert matched(text, compile_pattern(pattern)) == found


def test_a_long_text_is_searched_at_its_end() -> None:
    text = "x" + "y" * (MOST_SEARCHED - 1)
    assert matched(text, compile_pattern("x")) == "x"
    assert matched(text + "y", compile_pattern("x")) is None


@pytest.mark.parametrize("pattern", ["(a+)+$", "((a|b)*c|d)", "(?s).*(a[^b]*b)", "(a|aa)+c"])
def test_no_pattern_blocks(pattern: str) -> None:
    """On Python's own engine the first of them takes longer than anyone waits."""
    compiled = compile_pattern(pattern)
    started = time.process_time()
    assert matched("a" * 10 * MOST_SEARCHED + "!", compiled) is None
    assert time.process_time() - started < 1
