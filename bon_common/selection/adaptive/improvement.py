"""What one more sample is expected to gain over the best so far."""

from __future__ import annotations

from bon_common.selection.adaptive.prior import Predictive
from bon_common.selection.adaptive.student import density, upper_tail


def expected_improvement(best: float, next_sample: Predictive) -> float:
    """E[max(X - ``best``, 0)] in the unit of the rewards, for X Student's t.

    At z = (best - location) / scale it is scale [(df + z^2) / (df - 1) t(z) - z (1 - F(z))] (Jones
    et al. 1998 for the Gaussian; Shah et al. 2014, arXiv:1402.4306, for Student's t). Raises
    ValueError unless ``df`` is above 1: below, the expectation is infinite.
    """
    df, scale = next_sample.df, next_sample.scale
    if not df > 1:
        raise ValueError(f"df must be above 1, got {df}")
    z = (best - next_sample.location) / scale
    # Far out the two terms are nearly equal, and rounding must not make a loss of it.
    gain = (df + z * z) / (df - 1) * density(z, df) - z * upper_tail(z, df)
    return scale * max(gain, 0.0)
