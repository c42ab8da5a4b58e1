"""The settings of `bon-train grpo`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainers.base.settings import Positive, TrainSettings
from trainers.base.thinking import ThinkingMarks
from trainers.rewards.settings import RewardSource


class GrpoSettings(TrainSettings):
    """GRPO of a policy on `{prompt}` records (`train`) against a reward model.

    `batch_size` counts answers per update: groups of `group_size` to one prompt each. Prompts
    longer than `max_length` less `max_new_tokens` are dropped, counted and reported.
    """

    reward: RewardSource
    """Folder of the reward model, or a server: `{type: reward_server, url: ..., model: ...}`."""
    group_size: Annotated[int, Field(ge=2)] = 8
    """Answers to a prompt that are compared with each other."""
    max_new_tokens: Positive = 256
    """Answers are cut here."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Answers are drawn, and their log-probs taken, at this temperature."""
    beta: Annotated[float, Field(ge=0)] = 0.04
    """Weight of the KL to the reference: the start, or the policy without its adapters."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the ratio of new to old probability may move a token before its gradient stops."""
    updates_per_batch: Positive = 1
    """Passes over the same answers."""
    loss: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = "dapo"
    """How token losses are averaged, by TRL's names: in each answer first (grpo), over all tokens
    of the update (dapo) or of the pass (bnpo), or over the limit's length (dr_grpo)."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What a reward's distance from its group's mean is divided by: a standard deviation, or 1."""
    no_eos_reward: float | None = None
    """Reward of an answer that the limit cut, in place of the model's."""
    thinking: ThinkingMarks | None = None
    """How the policy marks its thinking, `{}` for `<think>` and `</think>`. The reward model then
    judges what follows it, as behind a gateway with the same setting. By default all is judged."""
    score_batch_size: Positive = 64
    """Conversations scored at a time."""
    eval_prompts: Path | None = None
    """`{prompt}` records; one answer to each measures the KL after training."""

    @model_validator(mode="after")
    def _groups_fit(self) -> "GrpoSettings":
        if self.adapter == "continue":
            raise ValueError("adapter: merge it; the KL is measured to the policy without adapters")
        if self.batch_size % self.group_size:
            raise ValueError(f"batch_size: a multiple of group_size, {self.group_size}, is needed")
        if self.max_new_tokens >= self.max_length:
            raise ValueError("max_new_tokens: less than max_length is needed")
        if self.save_every is not None and self.save_every % self.updates_per_batch:
            raise ValueError(
                f"save_every: a multiple of updates_per_batch, {self.updates_per_batch}, is "
                "needed; checkpoints keep no answers"
            )
        return self
