"""What a task is: a name, and problems, each a prompt with the check of its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

AnswerCheck = Callable[[str], bool]
"""Whether the answer's text is right."""


@dataclass(frozen=True)
class Problem:
    """One prompt, and what is right."""

    prompt: str
    """The user's message."""
    fact: str
    """What the answer has to know. Prompts with the same fact are on the same side of the split,
    so that a held-out prompt is no other wording of a training prompt."""
    check: AnswerCheck
    example: str
    """A right answer, as short as it can be."""


class PromptTask(ABC):
    """Base of the tasks. `registry` finds the subclasses that have a name."""

    name: ClassVar[str]
    """Stands in the files that `bon-train tasks` writes. It is part of the split: a task that
    is renamed gets another one."""
    natural_example: ClassVar[bool] = True
    """Whether the examples read as people write, so that a policy may learn from them."""

    @abstractmethod
    def problems(self) -> Iterable[Problem]:
        """All problems, always the same ones in the same order. No two have the same prompt."""
