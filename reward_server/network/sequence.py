"""What the network reads and what it says: one conversation's tokens, and the numbers for it."""

from __future__ import annotations

from dataclasses import dataclass

Ids = tuple[int, ...]
Output = tuple[float, ...]
"""Each label's raw number for one sequence."""


@dataclass(frozen=True)
class Rendered:
    """One sequence for the model."""

    ids: Ids
    prompt_tokens: int
    """Leading tokens that do not depend on the answer."""
    fixed_tokens: int = 0
    """Leading special tokens (BOS, CLS) that a cut of the prompt must keep."""
    token_types: Ids | None = None
    """Segment ids of an encoder pair; None where the model has none."""
    truncated: bool = False
