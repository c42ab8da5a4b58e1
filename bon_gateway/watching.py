"""Which checkpoints a growing candidate has passed: for policies, which show it to a ``Watch``."""

from __future__ import annotations

from collections.abc import Sequence


class PassedCheckpoints:
    """One candidate's way past ``checkpoints``, which are numbers of tokens and ascend."""

    def __init__(self, checkpoints: Sequence[int]) -> None:
        self._ahead = checkpoints[::-1]

    def passed(self, tokens: int) -> int | None:
        """The last checkpoint that it has passed since the last call, now that it has ``tokens``;
        None if there is none."""
        found = None
        while self._ahead and self._ahead[-1] <= tokens:
            found = self._ahead[-1]
            self._ahead = self._ahead[:-1]
        return found
