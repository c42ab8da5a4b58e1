"""How well the reward of an unfinished answer tells that of the whole one.

It is learnt from probes: requests whose candidates are scored at every checkpoint and all run to
their end. Requests that stop candidates teach nothing, because those that were stopped have no
final reward, and among the others the correlation is another one (restriction of range). All is
measured within prompts, since only differences between the candidates of one prompt decide.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bon_common.selection.within import WithinSums

LEAST = 50
"""Probes of a checkpoint before it is known. With 16 candidates each, a correlation of 0 then has a
standard error of 0.04."""
WINDOW = 128
"""Newest probes that are remembered."""
TINY = 1e-200
"""A sum of squares below it counts as none."""


class PairSums(msgspec.Struct, frozen=True, array_like=True):
    """The pairs of one prompt at one checkpoint: partial and final reward."""

    count: int
    shift: float
    """Mean of final minus partial."""
    partial: float
    """Sum of squared differences of the partial rewards from their mean."""
    final: float
    product: float
    """Sum of the products of both differences."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> PairSums:
        """Raises ValueError for no pairs, and for one that is not finite."""
        if not pairs or not all(math.isfinite(number) for pair in pairs for number in pair):
            raise ValueError("needs at least one pair, and finite ones")
        sums = WithinSums.of([pairs])
        shift = math.fsum(final - partial for partial, final in pairs) / len(pairs)
        return cls(len(pairs), shift, sums.first, sums.second, sums.product)


class PartialFit(msgspec.Struct, frozen=True):
    """What is known of one checkpoint, pooled over prompts."""

    correlation: float
    """Of partial and final rewards of one prompt."""
    ratio: float
    """Standard deviation of the final rewards over that of the partial ones."""
    shift: float
    """Mean of final minus partial."""
    variance: float
    """Of the partial rewards of one prompt."""


class Probe(msgspec.Struct, frozen=True, array_like=True):
    """One request that was probed."""

    at: int
    """Unix time in seconds."""
    count: int
    """Its candidates."""
    tokens: int
    """Generated tokens of all of them."""
    sums: Mapping[int, PairSums]
    """One entry for each checkpoint (in tokens) that some candidate passed."""


def fit(sums: Sequence[PairSums]) -> PartialFit | None:
    """None if there are fewer than ``LEAST`` prompts with two pairs, or if all their partial
    rewards are equal, or all final ones."""
    telling = [own for own in sums if own.count > 1]
    spare = sum(own.count - 1 for own in telling)
    partial = math.fsum(own.partial for own in telling)
    final = math.fsum(own.final for own in telling)
    if len(telling) < LEAST or min(partial, final) < TINY:
        return None
    product = math.fsum(own.product for own in telling)
    drawn = sum(own.count for own in telling)
    return PartialFit(
        correlation=product / (math.sqrt(partial) * math.sqrt(final)),
        ratio=math.sqrt(final) / math.sqrt(partial),
        shift=math.fsum(own.count * own.shift for own in telling) / drawn,
        variance=partial / spare,
    )


class ProbeWindow:
    """The newest ``WINDOW`` probes of a served model."""

    def __init__(self, least: int = LEAST) -> None:
        self._least = least
        self._probes: deque[Probe] = deque(maxlen=WINDOW)
        self._fits: dict[int, PartialFit] = {}
        self._pruning: bool | None = None

    def extend(self, probes: Iterable[Probe]) -> None:
        """Add probes, in any order of time."""
        newest = sorted([*self._probes, *probes], key=lambda probe: probe.at)
        self._probes.clear()
        self._probes.extend(newest)
        checkpoints = {checkpoint for probe in self._probes for checkpoint in probe.sums}
        found = {
            checkpoint: fit([p.sums[checkpoint] for p in self._probes if checkpoint in p.sums])
            for checkpoint in sorted(checkpoints)
        }
        self._fits = {checkpoint: fitted for checkpoint, fitted in found.items() if fitted}

    @property
    def enough(self) -> bool:
        """Whether there are so many probes that what they do not show is not there."""
        return len(self._probes) >= self._least

    @property
    def fits(self) -> Mapping[int, PartialFit]:
        """What is known of each checkpoint (in tokens) that enough probes have passed."""
        return self._fits

    @property
    def tokens(self) -> float | None:
        """Mean number of tokens of a candidate; None without probes."""
        count = sum(probe.count for probe in self._probes)
        return sum(probe.tokens for probe in self._probes) / count if count else None

    def switches(self, *, pruning: bool) -> bool:
        """Note whether candidates are pruned now. True if that is another answer than the last."""
        before, self._pruning = self._pruning, pruning
        return before is not pruning
