"""The last number in a text, by its value."""

from __future__ import annotations

import re
from collections import deque
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from bon_common.selection.extract.bounds import MOST_SEARCHED, searched

_EXACT = Context(prec=MOST_SEARCHED, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Keeps every digit of the longest number there can be."""

_CURRENCY = "$€£¥"
_NUMBER = re.compile(
    rf"""
    (?P<sign> (?<![\w)\]}}%.]) [-\u2212] )?     # after a word or a bracket it is a dash or a minus
    (?: \\?[{_CURRENCY}] \s? (?P<inner> [-\u2212] )? )?
    (?P<digits>
        (?: \d{{1,3}} (?: ,\d{{3}} )+ (?!\d) | \d+ ) (?: \.\d+ )?
        | (?<!\d) \.\d+
    )
    (?: [eE] (?P<exponent> [-+]?\d{{1,3}} ) (?!\w) )?
    """,
    re.VERBOSE,
)


def last_number(text: str) -> str | None:
    """The last number, written plainly: ``1,234.50``, ``$1234.5`` and ``1.2345e3`` are ``1234.5``.

    A comma between groups of three digits is left out, elsewhere it ends a number. A sign counts
    unless it follows a word or a bracket, as in ``10-3``; of a fraction such as ``1/2`` only the 2
    is read. It searches the last ``MOST_SEARCHED`` characters.
    """
    last = deque(_NUMBER.finditer(searched(text)), maxlen=1)
    return _value(last[0]) if last else None


def whole_number(text: str) -> str | None:
    """The same of a text that is nothing but one number, else None."""
    found = _NUMBER.fullmatch(text) if len(text) <= MOST_SEARCHED else None
    return None if found is None else _value(found)


def _value(found: re.Match[str]) -> str:
    negative = bool(found["sign"]) != bool(found["inner"])
    written = found["digits"].replace(",", "") + f"e{found['exponent'] or 0}"
    number = Decimal(written).normalize(_EXACT)
    plain = f"{number:f}"
    return f"-{plain}" if negative and number else plain
