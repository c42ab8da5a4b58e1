"""Where answers come from: an interface of token ids in, token ids out.

Text would be tokenised again, perhaps differently, and the log-probs would be those of tokens that
were never drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Generator(Protocol):
    """Draws answers from the policy as it is now."""

    def refresh(self) -> None:
        """Take over the policy's weights. Called before each iteration's `generate`."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
        """One answer to each prompt, in order, of at least one token.

        An answer ends with its end-of-turn token, or where it was cut for its length. Repeated
        prompts get answers of their own; the same seed and weights give the same answers.
        """
        ...

    @property
    def figures(self) -> Mapping[str, float]:
        """What the last `generate` showed of itself, for the log."""
        ...
