"""The interface by which every trainer gets rewards, from a folder or a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from trainers.base.data import Conversation, Message

Placed = tuple[str, Conversation]
"""A place for error messages, such as `file:line`, and a conversation that ends with an answer."""


class AnswerScorer(ABC):
    """Scores conversations that end with an answer."""

    cut: int
    """Conversations whose prompt was cut so far."""

    @abstractmethod
    def rewards(self, placed: Sequence[Placed]) -> list[float]:
        """One finite number a conversation, in the order given. Answers to equal prompts may be
        compared with each other. Raises DataError, naming the place, for a conversation that cannot
        be scored, and RunError where no reward can be had."""

    @abstractmethod
    def require(self, placed: Placed) -> None:
        """Raise the DataError that `rewards` would raise for this conversation, as far as it is
        known before scoring."""

    def score_answers(
        self, prompts: Sequence[Conversation], answers: Sequence[str | Message]
    ) -> list[float]:
        """The reward of each answer to its prompt, as `score`."""
        both = zip(prompts, answers, strict=True)
        return self.score(
            [
                prompt.said(answer) if isinstance(answer, str) else prompt.answered([answer])
                for prompt, answer in both
            ]
        )

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """As `rewards`, for answers that were just drawn."""
        return self.rewards([("a drawn answer", one) for one in conversations])
