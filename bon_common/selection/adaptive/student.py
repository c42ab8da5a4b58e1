"""Student's t distribution: its density and its upper tail."""

from __future__ import annotations

import math

TINY = 1e-300
"""Stands for 0 where the continued fraction would divide by it."""
PRECISION = 1e-15
MOST_TERMS = 1000


def density(z: float, df: float) -> float:
    """Density at ``z`` of Student's t with ``df`` degrees of freedom, location 0 and scale 1."""
    log_norm = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return math.exp(log_norm - (df + 1) / 2 * math.log1p(z * z / df))


def upper_tail(z: float, df: float) -> float:
    """P(T > ``z``) of Student's t with ``df`` degrees of freedom.

    It is not 1 minus the distribution function, which has no digits left far out.
    """
    if z < 0:
        return 1.0 - upper_tail(-z, df)
    square = z * z
    return 0.5 * incomplete_beta(df / 2, 0.5, df / (df + square), square / (df + square))


def incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b); ``rest`` is 1 - x, which the caller knows
    more exactly near 1.

    By the continued fraction DLMF 8.17.22, on the side on which it converges fast. Raises
    ArithmeticError if it does not converge, which needs ``a`` or ``b`` in the hundred thousands.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's method, as modified by Thompson and Barnett 1986."""
    c, d = 1.0, 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _not_zero(1.0 + term * d)
            c = _not_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < PRECISION:
            return value
    raise ArithmeticError(f"the continued fraction for a={a}, b={b}, x={x} does not converge")


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
