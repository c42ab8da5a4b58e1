"""The last number in a text, by its value."""

from __future__ import annotations

import re
from collections import deque
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from bon_common.selection.extract.bounds import MOST_SEARCHED, searched

_EXACT = Context(prec=MOST_SEARCHED, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Keeps every digit of the longest number there can be."""

_CURRENCY = "$€£¥"
_MINUS = r"[-\u2010-\u2013\u2212\ufe63\uff0d]"
"""Hyphens, the figure and the en dash, and minus signs: typesetting makes one of another."""
MOST_EXPONENT = 999
_NUMBER = re.compile(
    rf"""
    (?P<sign> (?<![\w)\]}}%.]) {_MINUS} )?     # after a word or a bracket it is a dash or a minus
    (?: \\?[{_CURRENCY}] \s? (?P<inner> {_MINUS} )? )?
    (?P<digits>
        (?: \d{{1,3}} (?: ,\d{{3}} )+ (?!\d) | \d+ ) (?: \.\d+ )?
        | (?<!\d) \.\d+
    )
    (?: [eE] (?P<exponent_sign> \+ | {_MINUS} )? (?P<exponent> \d++ ) (?!\w) )?
    """,
    re.VERBOSE,
)


def last_number(text: str) -> str | None:
    """The last number, written plainly: ``1,234.50``, ``$1234.5`` and ``1.2345e3`` are ``1234.5``.

    A comma between groups of three digits is left out, elsewhere it ends a number. A sign counts
    unless it follows a word or a bracket, as in ``10-3``; the figure dash, the en dash and minus
    signs are signs too. Of a fraction such as ``1/2`` only the 2 is read. A number with an exponent
    above ``MOST_EXPONENT`` is none. It searches the last ``MOST_SEARCHED`` characters.
    """
    last = deque(_NUMBER.finditer(searched(text)), maxlen=1)
    return _value(last[0]) if last else None


def whole_number(text: str) -> str | None:
    """The same of a text that is nothing but one number, else None."""
    found = _NUMBER.fullmatch(text) if len(text) <= MOST_SEARCHED else None
    return None if found is None else _value(found)


def _value(found: re.Match[str]) -> str | None:
    negative = bool(found["sign"]) != bool(found["inner"])
    exponent = (found["exponent"] or "0").lstrip("0") or "0"
    if len(exponent) > len(str(MOST_EXPONENT)):
        return None  # it would be written with as many zeros
    power = "" if found["exponent_sign"] in (None, "+") else "-"
    written = found["digits"].replace(",", "") + f"e{power}{exponent}"
    number = Decimal(written).normalize(_EXACT)
    plain = f"{number:f}"
    return f"-{plain}" if negative and number else plain
