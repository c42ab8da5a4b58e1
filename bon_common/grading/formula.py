"""A formula over named numbers: ``0.7 * right + 0.3 * max(style, 0.5)``.

It knows numbers, names, ``+ - * / ^``, brackets and a few functions, and nothing else: no code of a
settings file is ever evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

Values = Mapping[str, float]
Term = Callable[[Values], float]

FUNCTIONS: Mapping[str, tuple[Callable[..., float], int | None]] = {
    "min": (min, None),
    "max": (max, None),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
"""Functions by name, each with its number of arguments; None takes two or more."""

MOST_LEVELS = 50
MOST_CHARACTERS = 2000
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|([-+*/^(),]))")


class Formula:
    """Raises ValueError if the text is not a formula."""

    def __init__(self, text: str) -> None:
        self._reader = _Reader(text)
        self._term = self._reader.whole()
        self.names = frozenset(self._reader.names)
        """Names of the numbers that it needs."""

    def value(self, values: Values) -> float | None:
        """Returns None if the value is not finite, such as after a division by zero."""
        try:
            found = float(self._term(values))
        except (ArithmeticError, ValueError, TypeError):
            # A power of a negative number may be complex, which is a TypeError in ``float``.
            return None
        return found if math.isfinite(found) else None


class _Reader:
    """Reads sums of products of powers, from left to right; a power is read from the right."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._tokens = _tokens(text)
        self._at = 0
        self._levels = 0

    def whole(self) -> Term:
        term = self._sum()
        if self._next is not None:
            raise ValueError(f"{self._next!r} is not expected there")
        return term

    @property
    def _next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *wanted: str) -> str | None:
        """Take the next token if it is one of these."""
        token = self._next
        if token is None or token not in wanted:
            return None
        self._at += 1
        return token

    def _need(self, wanted: str) -> None:
        if self._take(wanted) is None:
            raise ValueError(f"a {wanted!r} is missing")

    def _sum(self) -> Term:
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise ValueError(f"it has more than {MOST_LEVELS} levels")
        term = self._product()
        while sign := self._take("+", "-"):
            term = _joined(sign, term, self._product())
        self._levels -= 1
        return term

    def _product(self) -> Term:
        term = self._signed()
        while sign := self._take("*", "/"):
            term = _joined(sign, term, self._signed())
        return term

    def _signed(self) -> Term:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        term = self._power()
        return (lambda values: -term(values)) if negative else term

    def _power(self) -> Term:
        base = self._atom()
        return _joined("^", base, self._exponent()) if self._take("^") else base

    def _exponent(self) -> Term:
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise ValueError(f"it has more than {MOST_LEVELS} levels")
        term = self._signed()
        self._levels -= 1
        return term

    def _atom(self) -> Term:
        if self._take("("):
            term = self._sum()
            self._need(")")
            return term
        token = self._next
        if token is None:
            raise ValueError("it ends too soon")
        self._at += 1
        if token[0].isdigit() or token[0] == ".":
            number = float(token)
            return lambda _: number
        if not (token[0].isalpha() or token[0] == "_"):
            raise ValueError(f"{token!r} is not expected there")
        if self._take("("):
            return self._call(token)
        self.names.add(token)
        return lambda values: values[token]

    def _call(self, name: str) -> Term:
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function {name!r}; known: {', '.join(FUNCTIONS)}")
        function, count = FUNCTIONS[name]
        terms = [self._sum()]
        while self._take(","):
            terms.append(self._sum())
        self._need(")")
        if len(terms) != count if count is not None else len(terms) < 2:
            wanted = count or "two or more"
            raise ValueError(f"{name} takes {wanted} numbers, and gets {len(terms)}")
        return lambda values: function(*[term(values) for term in terms])


def _joined(sign: str, left: Term, right: Term) -> Term:
    match sign:
        case "+":
            return lambda values: left(values) + right(values)
        case "-":
            return lambda values: left(values) - right(values)
        case "*":
            return lambda values: left(values) * right(values)
        case "/":
            return lambda values: left(values) / right(values)
    # Numbers are floats: a power of whole numbers might never end.
    return lambda values: float(left(values)) ** float(right(values))


def _tokens(text: str) -> Sequence[str]:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it is longer than {MOST_CHARACTERS} characters")
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:].strip()[:1]!r} is not expected there")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens
