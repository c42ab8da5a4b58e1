"""Bounds on how often an accepted answer is bad, from few judged ones.

Each accepted answer is bad or not, and answers to independent prompts are independent. So, given
how many are accepted, the number of bad ones is binomial, and the bounds are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from bon_common.selection.adaptive.student import incomplete_beta
from bon_common.selection.calibration.hedge import hedge_root


def at_most(bad: int, accepted: int, risk: float) -> float:
    """P(B <= ``bad``) for a binomial B of ``accepted`` trials with the chance ``risk``."""
    if bad >= accepted:
        return 1.0
    return incomplete_beta(accepted - bad, bad + 1, 1 - risk, risk)


def risk_bound(bad: int, accepted: int, confidence: float) -> float:
    """What the true risk does not exceed with this confidence (Clopper and Pearson 1934, one
    side): the risk at which so few bad answers have the chance 1 - ``confidence``.

    1 if all are bad or none is accepted. Raises ValueError unless 0 <= ``bad`` <= ``accepted``.
    """
    if not 0 <= bad <= accepted:
        raise ValueError(f"bad must be within 0 to {accepted}, got {bad}")
    if bad == accepted:
        return 1.0
    return hedge_root(lambda risk: at_most(bad, accepted, risk) - (1 - confidence), 0.0, 1.0)


def certified(outcomes: Sequence[tuple[int, int]], largest_risk: float, confidence: float) -> int:
    """How many rules, from the first on, have a risk of at most ``largest_risk``, all of them
    together with this confidence.

    ``outcomes`` has how many answers each rule accepts and how many of these are bad, in an order
    that was fixed before these answers were seen. Each is tested at the whole level and the first
    failure ends it: fixed-sequence testing (Angelopoulos et al. 2021, Learn then Test,
    arXiv:2110.01052).
    """
    passed = 0
    for accepted, bad in outcomes:
        if risk_bound(bad, accepted, confidence) > largest_risk:
            break
        passed += 1
    return passed
