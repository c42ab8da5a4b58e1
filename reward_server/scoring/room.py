"""The part of a conversation that is worth tokenising, because it may fit the model.

Exact lengths are `overflow`'s part, when there are tokens. Here a text is refused that is too long
whatever its tokens are, or loses of its left side what would be cut anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from reward_server.errors import ContextLengthError
from reward_server.schema import OnOverflow
from reward_server.scoring.text_bound import TextBound, tail_of

TOKENS_PER_CHARACTER = 64
"""More than any has: the one that normalisation makes most of (U+FDFA) becomes 33 bytes."""


@dataclass(frozen=True)
class Room:
    """What one item of a request may take."""

    item: int
    limit: int
    """Tokens that the model reads."""
    on_overflow: OnOverflow
    bound: TextBound

    def start_of(self, prompt: str) -> int:
        """Characters at the left of a prompt that are cut for certain, whatever the answer is."""
        if self.on_overflow == "refuse":
            return 0
        return tail_of(prompt, self.bound, self.limit + 1)

    def check(self, text: str, *, completion: int, prompt: str, mark: int) -> None:
        """Raises ContextLengthError for a rendered conversation that cannot fit.

        `mark` is a place in the prompt from which on the text may differ from it.
        """
        if self.on_overflow == "refuse":
            if self.bound.least(text) > self.limit:
                self._refuse(self.bound.least(prompt), None, "the prompt")
            self._refuse(self.bound.least(text), completion, "the conversation")
            return
        shared = len(prompt) if text.startswith(prompt) else mark
        if not text.startswith(prompt[:shared]):
            shared = 0
        # What the prompt has behind that place may stand in the text too, and be cut.
        in_prompt = TOKENS_PER_CHARACTER * (len(prompt) - shared)
        self._refuse(self.bound.least(text[shared:]) - in_prompt, completion, "the answer alone")

    def check_pair(self, prompt: str, answer: str, *, completion: int) -> None:
        """The same for an encoder, which reads both apart."""
        least = self.bound.least(answer)
        if self.on_overflow == "refuse":
            of_prompt = self.bound.least(prompt)
            self._refuse(of_prompt, None, "the prompt")
            self._refuse(of_prompt + least, completion, "the conversation")
        self._refuse(least, completion, "the answer alone")

    def _refuse(self, least: int, completion: int | None, what: str) -> None:
        if least > self.limit:
            raise ContextLengthError(
                self.item, completion, tokens=least, limit=self.limit, what=what, at_least=True
            )
