"""The settings of `bon-train reward`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bon_common.process_reward import Aggregate, StepReading
from bon_common.settings.weights import LabelWeight
from trainers.base.settings import Positive, Settings, TrainSettings

Objective = Literal["pairwise", "listwise", "all_pairs", "regression", "stepwise"]


class StepwiseSettings(Settings):
    """The steps of answers, for `objective: stepwise`. They are written beside the weights, so that
    the reward server needs no setting."""

    separator: Annotated[str, Field(min_length=1)] = "\n\n"
    """Text between two steps of an answer."""
    token: Annotated[str, Field(min_length=1)] | None = None
    """The mark behind each step, at which the model is read: one token of the vocabulary. By
    default the separator."""
    aggregate: Aggregate = "min"
    """How the scores of steps become the answer's reward: the lowest, their product, the last one
    or their mean. The server's settings may choose another."""

    @property
    def reading(self) -> StepReading:
        return StepReading(**self.model_dump(), label=RIGHT)


WRONG, RIGHT = "wrong", "right"
"""The labels of a step."""


class RewardTrainSettings(TrainSettings):
    """A reward model from pairs, rankings or scores; `batch_size` counts prompts."""

    objective: Objective = "pairwise"
    """`pairwise` learns from `{prompt, chosen, rejected}`, `listwise` (Plackett-Luce) and
    `all_pairs` (every pair of a prompt's answers) from `{prompt, candidates}`, `regression` from
    `{prompt, answer, score}`, and `stepwise`, which makes a process reward model, from `{prompt,
    steps, labels}`."""
    steps: StepwiseSettings = StepwiseSettings()
    dimensions: dict[str, LabelWeight] | None = None
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
    eval_steps: Path | None = None
    """Held-out answers in steps, for `stepwise`. The report says how often the model finds the
    first wrong step."""
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
        if self.objective != "stepwise":
            # Settings that were written out in full name the default, which means nothing here.
            if self.steps != StepwiseSettings():
                raise ValueError("steps: only for objective stepwise")
            if self.eval_steps is not None:
                raise ValueError("eval_steps: only for objective stepwise")
            return self
        for name in ("dimensions", "center_rewards", "eval_pairs", "seeds"):
            if getattr(self, name):
                raise ValueError(f"{name}: not for objective stepwise")
        if self.adapter == "continue":
            raise ValueError("adapter: objective stepwise starts from the merged model")
        return self
