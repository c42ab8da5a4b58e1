"""The interface of a method of judging: its questions, and how verdicts become rewards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from bon_gateway.backends.reward.judge.asking import Asking
from bon_gateway.sections.base import Component


class Method(Protocol):
    """It never shows the judge names: no policy, no variant, no place among the answers."""

    async def rewards(self, asking: Asking, answers: Sequence[str]) -> Sequence[float | None]:
        """A finite reward for each answer; None without a verdict. Reports replies without
        a verdict to ``asking.abstain``. Raises only CancelledError."""
        ...


class MethodSettings(Component):
    """The settings of one method, which build it."""

    TEMPLATE: ClassVar[str]
    """File in ``templates/`` with the question; the user's own template takes its place."""
    SHOWN: ClassVar[tuple[str, ...]]
    """Variables that a template of this method must show."""
    compares: ClassVar[bool] = False
    """See ``RewardBackend.compares``."""
    sampling_fields: ClassVar[tuple[str, ...] | None] = None
    """The fields of ``sampling`` that it uses; None for all."""
    thinks: ClassVar[bool] = True
    """Whether the judge may think."""

    @property
    @abstractmethod
    def example(self) -> Mapping[str, Any]:
        """The method's variables with made-up values: a template is tried with them at start-up."""

    @abstractmethod
    def calls(self, answers: int) -> int:
        """Calls that all questions about this many answers take, if no verdict is missing."""

    def least_calls(self, answers: int) -> int:
        """Calls without which some of this many answers have no reward."""
        return self.calls(answers)

    @abstractmethod
    def build(self) -> Method:
        """The method."""
