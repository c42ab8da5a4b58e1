"""Settings of every strategy, and of those that draw several candidates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bon_gateway.protocols import Strategy
from bon_gateway.sections.base import Component, Milliseconds
from bon_gateway.strategies.referee import Referee
from bon_gateway.types import Signal


class StrategySettings(Component):
    """The settings of one strategy, which build it."""

    needs_reward: ClassVar[bool] = True
    needs_steady_rewards: ClassVar[bool] = False
    """Whether it compares rewards with other calls' rewards or with a fixed number. A reward that
    only ``compares`` the answers of one call cannot serve it."""
    by_request: ClassVar[bool] = True
    """Whether a request's ``bon`` object may choose this strategy."""
    asked: ClassVar[tuple[str, ...]] = ()
    """Keys that a request's ``bon`` object may set."""
    counts: ClassVar[tuple[str, ...]] = ()
    """Keys whose sum is the number of candidates that one request draws; without any it is 1."""

    verifies: ClassVar[bool] = False
    """Whether its candidates are verified. A served model with verifiers takes only such
    strategies."""

    follow_n: ClassVar[tuple[str, ...]] = ()
    """Keys that an operator chose for the operator's ``n``: a request with another ``n`` gets their
    defaults."""

    @property
    def drawn(self) -> int:
        """Candidates that one request draws, or the most that it may draw."""
        return sum(getattr(self, key) for key in self.counts) or 1

    @property
    def asks(self) -> Mapping[str, str]:
        """Names of the policies that it asks beside the served model's own, by the keys in this
        section that name them."""
        return {}

    @property
    def embeds(self) -> Mapping[str, str]:
        """Names of the embedders that it asks, by the keys in this section that name them."""
        return {}

    @property
    def pool(self) -> int:
        """Number of candidates from which the winner is chosen."""
        return 1

    @property
    def looks_at(self) -> tuple[int, ...]:
        """Numbers of generated tokens at which it looks at candidates before their end."""
        return ()

    def lowered(self, most: int) -> dict[str, int]:
        """Values with which it draws only ``most`` candidates; empty if there are none."""
        n = self.pool - (self.drawn - most)
        return {"n": n} if n >= 1 and "n" in self.counts else {}

    @abstractmethod
    def build(self, referee: Referee) -> Strategy:
        """The strategy. ``referee`` says which candidates may win; all strategies share it."""


class DrawSettings(StrategySettings):
    """Settings of every strategy that draws several candidates."""

    n: PositiveInt = 8
    """Candidates from which the winner is chosen."""
    deadline_ms: Milliseconds | None = None
    """Milliseconds after which the best candidate so far wins, if ``min_candidates`` have arrived.
    Rewards may come later by a tenth of it, and at least by 100 ms. None waits for all."""
    min_candidates: PositiveInt = 1
    """If fewer than this have arrived at the deadline, the answer is an error (504)."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a failed candidate is drawn again."""
    fallback: Literal["first", "confidence", "error"] = "first"
    """What to answer if no candidate has a reward, because the reward model is down or refuses the
    conversation: ``first`` takes the finished candidate with the lowest index, ``confidence`` the
    one with the highest mean log-probability of its tokens, ``error`` is an error. With
    ``confidence`` the policy is asked for log-probabilities in every request, which makes its
    answers larger. With ``error`` nothing is drawn while the reward model is down."""

    asked: ClassVar[tuple[str, ...]] = ("n", "deadline_ms", "min_candidates")
    counts: ClassVar[tuple[str, ...]] = ("n",)
    verifies: ClassVar[bool] = True

    @property
    def chooses_by(self) -> Signal | None:
        """The confidence by which the strategy itself chooses. Then nothing is scored. None for the
        strategies that choose by rewards, or by no number."""
        return None

    @property
    def pool(self) -> int:
        return self.n

    @model_validator(mode="after")
    def _min_candidates_within_n(self) -> Self:
        if self.min_candidates > self.n:
            raise ValueError(f"min_candidates ({self.min_candidates}) is above n ({self.n})")
        return self
