"""The settings of `bon-train iterate`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from bon_common.settings.errors import dotted, explain
from trainers.base.settings import Positive, TemplateSettings
from trainers.base.thinking import ThinkingMarks
from trainers.dpo.settings import DpoSettings
from trainers.endpoint.settings import ChatSettings
from trainers.rewards.settings import RewardSource

OWN_KEYS = frozenset((
    "model", "revision", "train", "output", "seed", "sft_first", "adapter",
    "reference", "reference_revision", "reference_cache",
    "eval_prompts", "eval_max_new_tokens", "eval_batch_size",
    *TemplateSettings.model_fields,
))  # fmt: skip
"""Keys of `bon-train dpo` that a round sets itself, or that are given once for all rounds."""

ROUND = "{round}"
"""Stands for the number of the round in an endpoint's model name."""


class EndpointSettings(ChatSettings):
    """Where to sample over HTTP: any OpenAI-compatible chat endpoint, the gateway among them."""

    model: str
    """Its name there; `{round}` in it becomes the number of the round. Each round waits for a model
    of its own, because answers of an old policy are not on-policy."""
    wait_s: Annotated[float, Field(ge=0)] = 600.0
    """How long to wait until the endpoint answers under the round's model name."""

    def for_round(self, number: int) -> ChatSettings:
        """The same endpoint with the name of that round's model."""
        values = self.model_dump(include=set(ChatSettings.model_fields))
        return ChatSettings(**{**values, "model": self.model.replace(ROUND, str(number))})


class IterateSettings(TemplateSettings):
    """Rounds of sampling, labelling and DPO."""

    free = frozenset({"output", "rounds", "prompts", "endpoint"})
    """Prompts are known by their hash."""

    model: str
    """Checkpoint folder or hub name to start from."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    prompts: Path
    """`{prompt}` records to answer."""
    reward: RewardSource
    """Folder of the reward model that labels, or a server:
    `{type: reward_server, url: ..., model: ...}`."""
    output: Path
    """Gets `rounds/0`, `rounds/1`, ... and `rounds.json`."""
    seed: int = 0
    """Seeds the prompts of each round, the samples and the training."""
    rounds: Positive = 3
    """Times to sample, label and train."""
    prompts_per_round: Positive | None = None
    """Drawn without replacement, anew for each round; all of them unless given."""
    samples: Annotated[int, Field(ge=2)] = 4
    """Answers drawn per prompt; the best and the worst by the reward model become a pair."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Answers are drawn at this temperature."""
    max_new_tokens: Positive = 256
    """Answers are cut here."""
    thinking: ThinkingMarks | None = None
    """How the policy marks its thinking, `{}` for `<think>` and `</think>`. The reward model then
    judges what follows it, as behind a gateway with the same setting. By default all is judged."""
    sample_batch_size: Positive = 256
    """Answers drawn, or conversations scored, in one batch in this process."""
    labels: Literal["best", "drawn"] = "best"
    """`best`: the higher reward is preferred. `drawn`: it is preferred with the probability of
    Bradley and Terry, sigmoid(difference), so that close answers are labelled either way."""
    min_gap: Annotated[float, Field(ge=0)] = 0.0
    """Pairs whose rewards differ by no more than this are dropped and counted."""
    reference: Literal["previous", "start"] = "previous"
    """The frozen policy of a round: the one that it starts from, or the first of all. With
    `previous` the distance from the start adds up over the rounds."""
    endpoint: EndpointSettings | None = None
    """Where to sample; in this process unless given."""
    dpo: dict[str, Any] = Field(default_factory=dict)
    """Settings of `bon-train dpo` for every round: beta, loss, epochs, lora, ..."""
    eval_prompts: Path | None = None
    """`{prompt}` records; one answer to each measures reward, KL to the start, and how often the
    reward model prefers it to the start's, each round."""

    @property
    def last_policy(self) -> Path:
        """The folder of the policy that the last round makes."""
        return self.output / "rounds" / str(self.rounds - 1) / "policy"

    @field_validator("dpo")
    @classmethod
    def _dpo_is_valid(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in sorted(OWN_KEYS & values.keys()):
            raise ValueError(f"{key}: not a setting of a single round")
        try:
            DpoSettings.model_validate({"model": "m", "train": "t", "output": "o", **values})
        except ValidationError as error:
            place, reason = explain(error, DpoSettings)
            raise ValueError(f"{dotted(place)}: {reason}") from error
        return values

    @model_validator(mode="after")
    def _every_round_samples_its_own_policy(self) -> "IterateSettings":
        if self.endpoint is not None and self.rounds > 1 and ROUND not in self.endpoint.model:
            raise ValueError(
                f"endpoint.model: needs {ROUND} when rounds is above 1; the second round must "
                "not be sampled from the policy of the first"
            )
        return self
