"""The settings of a replay: frozen, unknown keys refused. They build nothing and do no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from bon_gateway.backends.reward.ensemble.members import (
    HowJoined,
    Joining,
    Penalty,
    RewardMemberSettings,
    Tolerance,
)
from bon_gateway.sections.base import Section
from bon_gateway.settings.tree import AnyReward, AnyStrategy
from bon_gateway.thinking import ThinkingSettings


class ReplaySettings(Section):
    pools: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Files of the candidate log, or folders that hold them."""
    strategies: Annotated[dict[str, AnyStrategy], Field(min_length=1)]
    """The strategies to replay, by names of your choice; the keys of ``models.<name>.strategy``."""
    n: PositiveInt | None = None
    """N of the plain best-of-N with which all are compared. None takes the largest power of two
    that is not above the smallest pool."""
    score_by: dict[str, AnyReward] = Field(default_factory=dict)
    """Rewards that first score the answers anew, by names of your choice, with the keys of the
    gateway's ``rewards``. Each becomes an entry of the candidates' ``rewards``. A single one takes
    the place of the recorded reward; name several in ``rewards``. ``scores.jsonl`` in ``output``
    keeps the scores."""
    rewards: tuple[RewardMemberSettings, ...] = ()
    """Choose by several recorded rewards, joined like ``models.<name>.rewards``. Without ``mean``
    and ``std`` each is standardised by all its recorded rewards. ``reward`` is a name in
    ``rewards`` of the candidates, or the name of the reward that served. None takes the recorded
    reward."""
    combine: Joining = "mean"
    """How ``rewards`` become one."""
    penalty: Penalty = 1.0
    """As for ``models.<name>.rewards``."""
    tolerance: Tolerance = 0.25
    """As for ``models.<name>.rewards``."""
    greedy: Path | None = None
    """A file or folder of the candidate log with greedy answers to the same prompts."""
    model: str | None = None
    """Read only requests for this served model. None reads all."""
    at_least: PositiveInt = 1
    """Leave out requests that have fewer candidates to draw."""
    permutations: PositiveInt = 16
    """How often each pool is shuffled. Every strategy draws from the same orders. More of them
    make the figures steadier, but no interval narrower than the number of prompts allows."""
    seed: int = 0
    """Decides the orders, the requests' seeds and the resampling of the intervals."""
    token_ms: PositiveFloat = 20.0
    """Milliseconds that one token of one candidate takes, however many candidates run."""
    reward_ms: NonNegativeFloat = 50.0
    """Milliseconds that one call to the reward model takes, however many answers it has."""
    thinking: ThinkingSettings | None = None
    """How the policy marked thinking inside content, as in ``policies.<name>.thinking``."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of the intervals."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap resamples behind the intervals."""
    output: Path = Path("runs/replay")
    """Folder for the table, the page and results.json."""

    @model_validator(mode="after")
    def _rows_have_one_name(self) -> Self:
        for name in ROWS:
            if name in self.strategies:
                raise ValueError(f"strategies.{name}: the report has a row of that name already")
        return self

    @model_validator(mode="after")
    def _one_reward_chooses(self) -> Self:
        if len(self.score_by) > 1 and not self.rewards:
            raise ValueError("rewards: say which of score_by choose")
        return self

    @property
    def how_joined(self) -> HowJoined:
        return HowJoined(self.combine, self.penalty, self.tolerance)

    @model_validator(mode="after")
    def _rewards_can_be_joined(self) -> Self:
        self.how_joined.check(self.rewards, "rewards")
        if not self.rewards and self.combine != "mean":
            raise ValueError("combine: has no meaning without rewards")
        return self

    @model_validator(mode="after")
    def _ask_one_policy(self) -> Self:
        for name, strategy in self.strategies.items():
            for key, asked in strategy.asks.items():
                raise ValueError(
                    f"strategies.{name}.{key}: there is no policy {asked!r}: a replay has the one"
                    " that drew the candidates"
                )
            for key, embedder in strategy.embeds.items():
                raise ValueError(
                    f"strategies.{name}.{key}: there is no embedder {embedder!r}: a replay asks no"
                    " model"
                )
        return self


GREEDY, RANDOM, ORACLE = "greedy", "random choice", "oracle"
ROWS = (GREEDY, RANDOM, ORACLE)
"""The rows that stand beside the strategies."""
