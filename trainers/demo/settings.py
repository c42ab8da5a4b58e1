"""The settings of `bon-train demo-train` and `demo-study`. Nothing here imports torch."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from trainers.base.settings import Positive, Settings

STEPS = ("world", "sft", "reward", "dpo", "ppo", "weak_reward", "hacked_ppo")
"""Those whose own settings can be changed."""

StepChanges = dict[str, dict[str, Any]]


class WorldSettings(Settings):
    """How much data to draw from the demo world."""

    seed: int = 0
    """Seeds everything that is drawn."""
    train_prompts: Positive = 6000
    """Prompts to train on."""
    held_out_prompts: Positive = 200
    """Prompts kept for measuring."""
    sft_records: Positive = 12000
    """Conversations for supervised fine-tuning."""
    pairs: Positive = 29000
    """Preference pairs for the reward model."""
    held_out_pairs: Positive = 2000
    """Pairs kept for measuring its accuracy."""


class MeasureSettings(Settings):
    """How many answers are drawn to measure with."""

    curve_samples: Annotated[int, Field(ge=8)] = 64
    """Answers of the SFT policy to each held-out prompt; the best-of-n curve goes up to this n. One
    of the goals is about n = 8."""
    judged_samples: Positive = 8
    """Answers of each policy to each held-out prompt, for its gold reward and its KL."""
    pair_prompts: Positive = 3000
    """Training prompts that the SFT policy answers to make pairs for DPO."""
    pairs_per_prompt: Positive = 2
    """Pairs of its answers to each; every answer is in one pair only."""
    batch_size: Positive = 256
    """Answers drawn in one batch."""
    max_new_tokens: Positive = 64
    """Answers are cut here."""


class DemoSettings(Settings):
    """What both commands have."""

    output: Path
    """Folder for all that is made; --overwrite replaces what an earlier run of the command left."""
    workers: Positive = 2
    """Steps that run at the same time, each on one thread."""
    measure: MeasureSettings = MeasureSettings()
    steps: StepChanges = Field(default_factory=dict)
    """Changes to the shipped settings of steps: `--set steps.ppo.iterations=10`."""

    @field_validator("steps")
    @classmethod
    def _steps_exist(cls, steps: StepChanges) -> StepChanges:
        for name in steps:
            if name not in STEPS:
                raise ValueError(f"{name}: no such step; there are {', '.join(STEPS)}")
        return steps


class DemoTrainSettings(DemoSettings):
    """The whole story once: data, SFT, reward model, DPO, PPO, measurements, report."""

    seed: int = 0
    """Seed of every step."""


class DemoStudySettings(DemoSettings):
    """The story over several seeds, and over-optimisation on purpose."""

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=2)
    """The story is told once with each."""
    weak_pairs: Positive = 300
    """Preference pairs of the reward model that is meant to be too weak."""
    weak_unsafe_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of them that answer an unsafe request; in the world itself it is a quarter. A reward
    model that saw few pairs, and many of this kind, learns that declining is good, and prefers it
    where nothing is wrong with the request."""
    page: Path | None = None
    """Folder for the report, `training-study.md`, and its plots; the output unless given."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> "DemoStudySettings":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each at most once")
        return self
