"""The settings of `bon-train ppo`. Nothing here reads a file or imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.base.settings import LoraSettings, Positive, Settings, Share, TemplateSettings
from trainers.base.thinking import ThinkingMarks
from trainers.endpoint.settings import HttpUrl
from trainers.rewards.gold import GoldSettings
from trainers.rewards.settings import RewardSource

PositiveFloat = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
KlEstimator = Literal["k1", "k2", "k3"]


class SamplingSettings(Settings):
    """How answers are drawn. There is no top-k or top-p: they would sample from another policy than
    the one whose log-probs are trained."""

    temperature: PositiveFloat = 1.0
    """Part of the policy: log-probs of old, new and reference policy are all taken at it."""
    max_new_tokens: Positive = 64
    """Answers are cut here; a cut answer has no end-of-turn token."""


class InProcessDrawSettings(Settings):
    """Sample with the model that is being trained, in this process."""

    type: Literal["in_process"] = "in_process"
    batch_size: Positive = 128
    """Answers drawn at the same time."""


class VllmSettings(Settings):
    """Sample from a running vLLM, whose weights are refreshed before each iteration.

    The engine must run with VLLM_SERVER_DEV_MODE=1 (its weights are reloaded through
    `/collective_rpc`), serve the model that training starts from without quantization, and see
    the folder `weights` on its disk. With `--load-format dummy` it starts on random weights, so the
    first check shows that a refresh replaces all of them.
    """

    free = frozenset({"url", "weights", "concurrency", "timeout_s"})

    type: Literal["vllm"]
    url: HttpUrl
    """Base address, such as http://127.0.0.1:8000"""
    served_model: str
    """The engine's `--served-model-name`."""
    weights: Path | None = None
    """Folder that the policy is written to for the engine; default: `engine-weights` in output."""
    concurrency: Positive = 64
    """Largest number of requests at the same time."""
    timeout_s: PositiveFloat = 600.0
    """Longest time, in seconds, of one request and of the reload of the weights."""
    check_answers: Positive = 8
    """Number of answers of every draw for which the engine's log-probs are compared with the
    policy's own; each costs a forward pass."""
    tolerance: PositiveFloat = 0.05
    """The run ends if the mean absolute difference of these log-probs is larger, in nats per token
    at temperature 1: the engine then samples from other weights than the policy's."""


class AdaptiveSettings(Settings):
    """Beta follows the KL (Ziegler et al. 2019, section 2.2)."""

    target: PositiveFloat
    """Wanted KL to the reference, in nats per answer."""
    horizon: PositiveFloat = 10_000.0
    """Number of answers over which beta adapts; a smaller one adapts faster."""


class KlSettings(Settings):
    """Keeps the policy near the reference, and near the policy that sampled."""

    beta: Weight = 0.05
    """Weight of the KL to the reference, which is subtracted from the reward of each token."""
    estimator: KlEstimator = "k1"
    """Estimator of the KL in the reward. k1 is the log-ratio itself, unbiased there."""
    adaptive: AdaptiveSettings | None = None
    """Adapts beta to a target; without it beta is fixed."""
    loss_weight: Weight = 0.0
    """Weight of the KL to the reference as a term of the loss, beside beta or instead of it."""
    loss_estimator: Literal["k2", "k3"] = "k2"
    """Estimator of that term. k2 has the gradient of KL(policy, reference), k3 that of
    KL(reference, policy); k1 has none."""
    old_weight: Weight = 0.0
    """Weight of the KL to the sampling policy as a term of the loss, beside the clip or, with
    `update.clip` null, instead of it."""

    @model_validator(mode="after")
    def _adaptive_has_a_start(self) -> KlSettings:
        if self.adaptive is not None and self.beta == 0:
            raise ValueError("adaptive: beta 0 would stay 0, since it is adapted by factors")
        return self


class RewardShapeSettings(Settings):
    """How the reward model's score becomes the reward of the last token."""

    shift: float = 0.0
    """Subtracted from the score; use the reward model's mean to centre it."""
    scale: PositiveFloat = 1.0
    """Divides the shifted score; use the reward model's standard deviation to normalise it."""
    clip: PositiveFloat | None = None
    """Limits the absolute value of the result."""
    missing_eos_penalty: Weight = 1.0
    """Subtracted from the score of an answer that was cut: the reward model reads it as if it had
    ended, and would otherwise reward answers that never end."""


class AdvantageSettings(Settings):
    """Generalised advantage estimation (Schulman et al. 2015, arXiv:1506.02438)."""

    gamma: Share = 1.0
    """Discount per token; 1, no discount, is usual for answers."""
    lam: Share = 0.95
    """0 trusts the value model, 1 the actual rewards."""
    whiten: bool = True
    """Advantages get mean 0 and variance 1 over the tokens of the iteration."""


class ValueSettings(Settings):
    """The value model, a network of its own."""

    start: Literal["reward", "policy"] = "reward"
    """Whose weights it starts from. The reward model's already tell good from bad, but it must have
    the policy's vocabulary."""
    learning_rate: PositiveFloat | None = None
    """Default: the policy's."""
    loss_weight: PositiveFloat = 1.0
    """Weight of the value model's loss."""
    clip: PositiveFloat | None = 0.2
    """Within one iteration, changing a value by more than this does not lower the loss further."""


class UpdateSettings(Settings):
    """How the policy follows the gradient on one iteration's rollouts."""

    epochs: Positive = 4
    """Passes over the rollouts. Only the first step is on-policy; the clip guards the others."""
    minibatch_size: Positive = 64
    """Answers per optimiser step."""
    micro_batch_size: Positive = 64
    """Answers per forward pass. It changes memory and speed, not the gradient."""
    gradient_checkpointing: bool = False
    """Keep only what enters each layer, and compute the rest again in the backward pass: less
    memory, about a third more time, the same gradients."""
    learning_rate: PositiveFloat = 1e-5
    """Highest learning rate of the policy."""
    warmup_iterations: Annotated[int, Field(ge=0)] = 0
    """Number of iterations over which the rate rises from 0."""
    decay: Literal["constant", "linear"] = "linear"
    """Linear falls from the full rate in the first iteration to 0 after the last."""
    weight_decay: Weight = 0.0
    """Weight decay of AdamW."""
    clip: PositiveFloat | None = 0.2
    """Epsilon: beyond a ratio of 1 +- epsilon an advantage moves the policy no further."""
    entropy_bonus: Weight = 0.0
    """Weight of an entropy term that the update raises."""
    max_grad_norm: PositiveFloat = 1.0
    """Largest gradient norm, of policy and value model each on its own."""
    stop_kl: PositiveFloat | None = None
    """Ends the iteration's passes if the KL to the old policy exceeds it, in nats per token."""


class AlarmSettings(Settings):
    """When to warn of reward hacking. Each alarm compares the last iterations with the first."""

    window: Positive = 2
    """Iterations that are averaged."""
    kl_acceleration: PositiveFloat = 3.0
    """Alarm when KL per unit of reward has grown by this factor."""
    kl_floor: Weight = 5.0
    """No alarm for a KL below this, in nats per answer."""
    entropy_rise: PositiveFloat = 0.1
    """Alarm when entropy has risen by this share. Allow more with an entropy bonus in `update`."""
    eos_drop: PositiveFloat = 0.1
    """Alarm when the share of answers that end by themselves has fallen by this much."""
    length_growth: PositiveFloat = 1.5
    """Alarm when answers have grown longer by this factor."""
    distinct_drop: PositiveFloat = 0.5
    """Alarm when variety (distinct-2) has fallen by this share."""
    stop: bool = False
    """End the run at the first alarm and keep the weights of that iteration."""


class PpoSettings(TemplateSettings):
    """Tunes a policy against a frozen reward model."""

    free = frozenset(
        {
            *("prompts", "eval_prompts", "eval_samples", "output", "alarms"),
            *("checkpoint_every", "keep_checkpoints", "device"),
        }
    )
    """A hash stands for the prompts."""

    model: str
    """Policy to start from, folder or hub name. Its initial weights are the reference too."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    reward: RewardSource
    """Folder of the reward model, which is read as the reward server reads it; or a server:
    `{type: reward_server, url: ..., model: ...}`, with `value.start: policy`."""
    prompts: Path
    """JSONL with a `prompt` in each line, such as preference pairs; repeated ones are dropped."""
    output: Path
    """Folder for the tuned policy, `metrics.jsonl`, TensorBoard files, checkpoints, model card."""
    eval_prompts: Path | None = None
    """Prompts that are never trained on; the policy is measured on them before and after."""
    eval_samples: Positive = 1
    """Answers to each evaluation prompt."""
    gold: GoldSettings | None = None
    """A function that knows the true reward, which is logged and never trained on."""
    seed: int = 0
    """Seed of prompts, samples and minibatches."""
    iterations: Positive = 100
    """Number of rounds of drawing answers and training on them."""
    prompts_per_iteration: Positive = 128
    """Prompts answered in each iteration."""
    samples_per_prompt: Positive = 1
    """Answers to each prompt."""
    max_prompt_tokens: Positive = 512
    """Longer prompts are dropped, counted and reported."""
    sampling: SamplingSettings = SamplingSettings()
    generation: Annotated[InProcessDrawSettings | VllmSettings, Field(discriminator="type")] = (
        InProcessDrawSettings()
    )
    """What draws the answers: this process or a running vLLM."""
    thinking: ThinkingMarks | None = None
    """How the policy marks its thinking, `{}` for `<think>` and `</think>`. The reward model then
    judges what follows it, as behind a gateway with the same setting. By default all is judged."""
    kl: KlSettings = KlSettings()
    shape: RewardShapeSettings = RewardShapeSettings()
    advantages: AdvantageSettings = AdvantageSettings()
    value: ValueSettings = ValueSettings()
    update: UpdateSettings = UpdateSettings()
    lora: LoraSettings | None = None
    """Train an adapter instead of all weights. The reference is then the policy without adapter, so
    no copy is needed. Its dropout must be 0."""
    alarms: AlarmSettings = AlarmSettings()
    checkpoint_every: Positive = 10
    """Iterations between checkpoints."""
    keep_checkpoints: Positive = 1
    """Number of checkpoints to keep; older ones are deleted."""
    device: str = "auto"
    """A name of torch's; auto takes CUDA if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the frozen weights and the reward model. Adapters and value model stay float32."""
    threads: Positive | None = None
    """Threads of torch on the CPU. With one, figures do not depend on the number of cores."""

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("lora")
    @classmethod
    def _no_dropout(cls, value: LoraSettings | None) -> LoraSettings | None:
        if value is not None and value.dropout:
            raise ValueError("dropout must be 0: log-probs before and in the update must agree")
        return value

    @model_validator(mode="after")
    def _trained_weights_are_float32(self) -> PpoSettings:
        if self.dtype != "float32" and self.lora is None:
            raise ValueError("dtype: 16 bits lose the small steps of whole weights; set lora")
        return self

    @model_validator(mode="after")
    def _value_has_a_start(self) -> PpoSettings:
        if self.value.start == "reward" and not isinstance(self.reward, Path):
            raise ValueError(
                "value.start: a reward behind a server has no weights to start from; set policy"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> PpoSettings:
        answers = self.prompts_per_iteration * self.samples_per_prompt
        if self.update.minibatch_size > answers:
            raise ValueError(f"update.minibatch_size: an iteration has only {answers} answers")
        return self
