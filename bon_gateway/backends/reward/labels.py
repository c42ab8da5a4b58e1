"""The labels of a reward model with several, as ``Scores`` has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

TOLD = 20


def by_answer(labels: Mapping[str, Sequence[float]]) -> list[dict[str, float]] | None:
    """Turns each label's numbers for all answers into each answer's numbers by label; None without
    labels."""
    if not labels:
        return None
    rows = zip(*labels.values(), strict=True)
    return [dict(zip(labels, row, strict=True)) for row in rows]


def lacking(read: Sequence[str], known: Collection[str]) -> str | None:
    """What to say of the first label in ``read`` that a model lacks; None if it has all."""
    for label in read:
        if label not in known:
            some = [*known][:TOLD]
            more = ", ..." if len(known) > TOLD else ""
            told = f"it has {', '.join(some)}{more}" if some else "it has none"
            return f"has no label {label!r}, which an ensemble reads; {told}"
    return None
