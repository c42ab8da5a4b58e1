"""The settings of `bon-train dpo`. Knows the names of TRL's losses without importing TRL."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.base.settings import Positive, Settings, TrainSettings

LOSSES = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
)
"""The losses of TRL's DPOTrainer under its own names; a test compares the list with TRL's."""

SMOOTHED = frozenset(("robust", "exo_pair", "aot", "aot_unpaired"))
"""The losses that look at `label_smoothing`; TRL's others ignore it without a word."""


class SftFirst(Settings):
    """Supervised fine-tuning on the preferred answers before DPO.

    It moves the policy to where the answers are, when they come from elsewhere (off-policy); the
    outcome is both where DPO starts and its reference.
    """

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the preferred answers."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Highest rate, reached after the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Updates over which the rate rises from 0."""


class DpoSettings(TrainSettings):
    """Preference optimisation of a policy on `{prompt, chosen, rejected}` records."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    """What a nat of distance from the reference costs; smaller goes further. For ipo and sppo_hard
    it is the regularisation of those papers instead."""
    loss: str = "sigmoid"
    """One of TRL's losses, by TRL's name."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The share of labels taken to be wrong; only the losses robust, exo_pair and aot use it."""
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the chosen answers' negative log-likelihood (mean a token) beside the loss, which
    by itself may take probability from both answers (Pang et al. 2024, arXiv:2404.19733)."""
    reference: str | None = None
    """Checkpoint folder or hub name of the frozen policy to stay near; the start (`model`) unless
    given. It must have the same tokenizer and chat template."""
    reference_revision: str | None = None
    """Branch, tag or commit of a hub reference."""
    reference_logps: Literal["precompute", "live"] = "precompute"
    """`precompute`: once before training, and kept on disk. `live`: at each step, under LoRA by the
    policy with its adapters off, otherwise by a second model in memory."""
    reference_cache: Path | None = None
    """Folder of the precomputed log-probabilities; `reference-logps` in the output unless given."""
    sft_first: SftFirst | None = None
    """Fine-tune on the preferred answers first."""
    eval_prompts: Path | None = None
    """`{prompt}` records; one answer to each is drawn after training, to measure the KL."""
    eval_max_new_tokens: Positive = 256
    """Those answers are cut here."""
    eval_batch_size: Positive = 64
    """Answers drawn in one batch."""

    @field_validator("loss")
    @classmethod
    def _loss_is_known(cls, name: str) -> str:
        if name not in LOSSES:
            raise ValueError(f"unknown loss {name}; there are {', '.join(LOSSES)}")
        return name

    @model_validator(mode="after")
    def _parts_fit(self) -> "DpoSettings":
        if self.label_smoothing > 0 and self.loss not in SMOOTHED:
            raise ValueError(
                f"label_smoothing: the loss {self.loss} does not look at it; "
                f"those that do: {', '.join(sorted(SMOOTHED))}"
            )
        if self.loss == "exo_pair" and self.label_smoothing == 0:
            raise ValueError("label_smoothing: exo_pair needs one above 0 (its paper takes 0.001)")
        if self.lora is not None and self.reference is not None and self.reference_logps == "live":
            raise ValueError(
                "reference: with lora and reference_logps live it is the policy without its "
                "adapters; precompute takes another"
            )
        if self.reference_revision is not None and self.reference is None:
            raise ValueError("reference_revision: only with reference; that of model is its own")
        if self.sft_first is not None and self.adapter == "continue":
            raise ValueError("sft_first: not with adapter: continue; run `bon-train sft` before it")
        if self.sft_first is not None and self.reference is not None:
            raise ValueError("reference: with sft_first the reference is the outcome of that")
        return self
