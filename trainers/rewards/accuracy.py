"""How often a reward model orders two answers correctly."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoredPair:
    """The rewards of one pair."""

    chosen: float
    rejected: float
    margin: float | None = None
    """The true gap between the answers."""
    section: str | None = None


@dataclass(frozen=True)
class Share:
    """The accuracy on a part of the pairs."""

    accuracy: float
    pairs: int


@dataclass(frozen=True)
class GapShare:
    """The accuracy on the pairs whose true gap is within `[low, high)`."""

    low: float
    high: float | None
    """None: no upper end."""
    accuracy: float
    pairs: int


def accuracy(pairs: Sequence[ScoredPair], min_margin: float | None = None) -> float:
    """Share of the pairs whose chosen answer scores higher; equal rewards are half right.

    With `min_margin`, only pairs whose margin is known and at least that large count. Raises
    ValueError if no pair is left.
    """
    counted = [pair for pair in pairs if min_margin is None or _gap(pair) >= min_margin]
    if not counted:
        raise ValueError(f"no pair has a margin of at least {min_margin}")
    right = sum(
        1.0 if pair.chosen > pair.rejected else 0.5 * (pair.chosen == pair.rejected)
        for pair in counted
    )
    return right / len(counted)


def by_gap(pairs: Sequence[ScoredPair], edges: Sequence[float]) -> list[GapShare]:
    """The accuracy between each two of the rising `edges` and above the last.

    Bins without pairs are left out, and pairs whose margin is unknown or below the first edge.
    """
    shares = []
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        inside = [p for p in pairs if _gap(p) >= low and (high is None or _gap(p) < high)]
        if inside:
            shares.append(GapShare(low, high, accuracy(inside), len(inside)))
    return shares


def by_section(pairs: Sequence[ScoredPair]) -> dict[str, Share]:
    """The accuracy of each section, in the order of their names."""
    names = sorted({pair.section for pair in pairs if pair.section is not None})
    parts = {name: [pair for pair in pairs if pair.section == name] for name in names}
    return {name: Share(accuracy(part), len(part)) for name, part in parts.items()}


def _gap(pair: ScoredPair) -> float:
    return float("-inf") if pair.margin is None else pair.margin
