from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from bon_common.selection.pruning.probes import (
    LEAST,
    WINDOW,
    PairSums,
    Probe,
    ProbeWindow,
    fit,
)


def drawn(source: random.Random, correlation: float, count: int = 8) -> list[tuple[float, float]]:
    """Pairs with the correlation, final rewards of deviation 2 and partial ones of deviation 1."""
    pairs = []
    for _ in range(count):
        partial = source.gauss(0, 1)
        noise = source.gauss(0, 1)
        final = correlation * partial + math.sqrt(1 - correlation**2) * noise
        pairs.append((5 + partial, 2 * final))
    return pairs


def probes(correlation: float, count: int, at: int = 0) -> list[Probe]:
    source = random.Random(f"{correlation} {at}")
    return [
        Probe(at + k, 8, 800, {64: PairSums.of(drawn(source, correlation))}) for k in range(count)
    ]


def test_the_sums_of_one_prompt() -> None:
    sums = PairSums.of([(1.0, 2.0), (3.0, 8.0)])
    assert sums == PairSums(2, 3.0, 2.0, 18.0, 6.0)


@pytest.mark.parametrize("pairs", [[], [(1.0, math.nan)], [(math.inf, 1.0)]])
def test_pairs_must_be_finite(pairs: Sequence[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="finite"):
        PairSums.of(pairs)


def test_a_fit_of_perfect_pairs() -> None:
    pairs = [(float(k), 3.0 * k + 1.0) for k in range(4)]
    found = fit([PairSums.of(pairs)] * LEAST)
    assert found is not None
    assert found.correlation == pytest.approx(1.0, abs=1e-9)
    assert found.ratio == pytest.approx(3.0, abs=1e-9)
    assert found.shift == pytest.approx(4.0, abs=1e-9)
    assert found.variance == pytest.approx(5 / 3, abs=1e-9)


def test_prompts_of_other_means_change_nothing() -> None:
    """A correlation between prompts does not say which candidate is better."""
    source = random.Random(1)
    sums = []
    for prompt in range(200):
        pairs = drawn(source, 0.0)
        sums.append(PairSums.of([(p + 10 * prompt, f + 10 * prompt) for p, f in pairs]))
    found = fit(sums)
    assert found is not None
    assert found.correlation == pytest.approx(0.0, abs=0.1)


def test_too_few_or_equal_pairs_fit_nothing() -> None:
    one = PairSums.of([(0.0, 0.0), (1.0, 1.0)])
    assert fit([one] * (LEAST - 1)) is None
    assert fit([one] * (LEAST - 1) + [PairSums.of([(0.0, 1.0)])] * 9) is None
    assert fit([PairSums.of([(1.0, 0.0), (1.0, 1.0)])] * LEAST) is None
    assert fit([PairSums.of([(0.0, 1.0), (1.0, 1.0)])] * LEAST) is None
    assert fit([]) is None


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_window_learns_the_correlation(correlation: float) -> None:
    window = ProbeWindow()
    window.extend(probes(correlation, WINDOW))
    found = window.fits[64]
    assert found.correlation == pytest.approx(correlation, abs=0.08)
    assert found.ratio == pytest.approx(2.0, rel=0.1)
    assert window.tokens == 100.0


def test_a_window_knows_when_it_knows_enough() -> None:
    window = ProbeWindow()
    assert (window.enough, window.fits, window.tokens) == (False, {}, None)
    window.extend(probes(0.9, LEAST - 1))
    assert not window.enough
    window.extend([Probe(99, 8, 80, {})])
    assert window.enough
    assert window.fits == {}


def test_old_probes_are_forgotten_whatever_the_order() -> None:
    window = ProbeWindow()
    window.extend(probes(0.9, WINDOW, at=1000))
    window.extend(probes(0.0, WINDOW, at=0))
    assert window.fits[64].correlation > 0.8
    window.extend(probes(0.0, WINDOW, at=2000))
    assert window.fits[64].correlation < 0.2


def test_a_switch_is_told_once() -> None:
    window = ProbeWindow()
    told = [window.switches(pruning=on) for on in (True, True, False, False, True)]
    assert told == [True, False, True, False, True]
