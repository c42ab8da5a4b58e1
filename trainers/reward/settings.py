"""The settings of `bon-train reward`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.base.settings import Positive, TrainSettings

Objective = Literal["pairwise", "listwise", "all_pairs", "regression"]


class RewardTrainSettings(TrainSettings):
    """A reward model from pairs, rankings or scores; `batch_size` counts prompts."""

    objective: Objective = "pairwise"
    """`pairwise` learns from `{prompt, chosen, rejected}`, `listwise` (Plackett-Luce) and
    `all_pairs` (every pair of a prompt's answers) from `{prompt, candidates}`, `regression` from
    `{prompt, answer, score}`."""
    dimensions: dict[str, float] | None = None
    """One output for each name, combined by these weights. Lines then hold
    `preferences: {name: 1, 0 or -1}` beside a pair, or `scores: {name: number}` beside each answer.
    Each dimension of a list is learnt by its own order."""
    margin_weight: Annotated[float, Field(gt=0)] | None = None
    """The chosen answer must win by this factor times the pair's margin."""
    center_rewards: Annotated[float, Field(gt=0)] | None = None
    """Weight of the term that pulls rewards to a zero mean (Eisenstein et al. 2023)."""
    eval_pairs: Path | None = None
    """Held-out pairs. The report says how many of them the model orders rightly, by margin, and
    whether it is as sure as it should be."""
    seeds: tuple[int, ...] = ()
    """Train an ensemble instead of one model: a member for each seed, in `output/seed-N`."""
    share_prompt: bool = True
    """Compute what a record's answers begin with once for all of them, on networks that allow it;
    others compute each answer whole. Gradients are the same up to rounding."""
    statistics_over: Positive = 4096
    """Number of training answers, drawn at random, that give `rm_meta.json` mean and spread."""

    @field_validator("dimensions")
    @classmethod
    def _some_dimension(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not any(value.values()):
            raise ValueError("at least one dimension needs a weight other than 0")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each seed at most once")
        return value

    @model_validator(mode="after")
    def _options_fit_the_objective(self) -> "RewardTrainSettings":
        if self.margin_weight is not None and (self.objective != "pairwise" or self.dimensions):
            raise ValueError("margin_weight: only for pairs with one score")
        if self.center_rewards is not None and self.objective == "regression":
            raise ValueError("center_rewards: scores already fix where zero is")
        return self
