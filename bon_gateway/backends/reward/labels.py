"""The labels of a reward model with several, as ``Scores`` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def by_answer(labels: Mapping[str, Sequence[float]]) -> list[dict[str, float]] | None:
    """Turns each label's numbers for all answers into each answer's numbers by label; None without
    labels."""
    if not labels:
        return None
    rows = zip(*labels.values(), strict=True)
    return [dict(zip(labels, row, strict=True)) for row in rows]
