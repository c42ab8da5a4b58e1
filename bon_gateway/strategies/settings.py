"""What the settings of every strategy say, and what those that draw several candidates share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bon_gateway.protocols import Strategy
from bon_gateway.sections.base import Component, Milliseconds
from bon_gateway.strategies.judge import Judge


class StrategySettings(Component):
    """The settings of one strategy, which build it."""

    needs_reward: ClassVar[bool] = True
    by_request: ClassVar[bool] = True
    """Whether a request's ``bon`` object may choose this strategy."""
    asked: ClassVar[tuple[str, ...]] = ()
    """Keys that a request's ``bon`` object may set."""
    counts: ClassVar[tuple[str, ...]] = ()
    """Keys whose sum is the number of candidates that one request draws; without any it is 1."""

    @property
    def drawn(self) -> int:
        """Candidates that one request draws."""
        return sum(getattr(self, key) for key in self.counts) or 1

    @property
    def pool(self) -> int:
        """Candidates that the winner is chosen among."""
        return 1

    @abstractmethod
    def build(self, judge: Judge) -> Strategy:
        """The strategy. ``judge`` tells which candidates may win; all strategies share it."""


class DrawSettings(StrategySettings):
    """What every strategy that draws several candidates has."""

    n: PositiveInt = 8
    """Candidates to select among."""
    deadline_ms: Milliseconds | None = None
    """At the deadline the best of what has arrived wins, if ``min_candidates`` arrived."""
    min_candidates: PositiveInt = 1
    """Fewer than this at the deadline are an error (504)."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Times that a failed candidate is drawn again."""
    fallback: Literal["first", "error"] = "first"
    """When no candidate has a reward, because the reward model is down or refuses the conversation:
    the finished candidate of lowest index, or an error. With ``error`` nothing is drawn while the
    reward model is down."""

    asked: ClassVar[tuple[str, ...]] = ("n", "deadline_ms", "min_candidates")
    counts: ClassVar[tuple[str, ...]] = ("n",)

    @property
    def pool(self) -> int:
        return self.n

    @model_validator(mode="after")
    def _min_candidates_within_n(self) -> Self:
        if self.min_candidates > self.n:
            raise ValueError(f"min_candidates ({self.min_candidates}) is above n ({self.n})")
        return self
