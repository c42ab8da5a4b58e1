"""The settings of `bon-train evaluate`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from bon_common.ensemble import Combine
from bon_common.settings.weights import LabelWeight
from trainers.base.settings import Positive, TemplateSettings, refuse_templates
from trainers.base.thinking import ThinkingMarks
from trainers.rewards.gold import GoldSettings
from trainers.rewards.settings import RewardSource

Gap = Annotated[float, Field(ge=0)]


class EvaluateSettings(TemplateSettings):
    """Measures a reward model on the files that are named; at least one is needed. The settings of
    tokens and templates are those of `policy`."""

    reward: RewardSource
    """Folder of a reward model, or of an ensemble; or a server:
    `{type: reward_server, url: ..., model: ...}`."""
    pairs: Path | None = None
    """`{prompt, chosen, rejected}`, best with `margin`, the true gap of the two, and `section`."""
    reward_bench: Path | None = None
    """RewardBench, as published, in JSONL or parquet."""
    reward_bench_prior: Path | None = None
    """Its prior test sets, which count half in the overall figure."""
    reward_bench_2: Path | None = None
    """RewardBench 2, as published, in JSONL or parquet."""
    steps: Path | None = None
    """File of `{prompt, steps, labels}`: how often a process reward model finds the first wrong
    step."""
    policy: Path | None = None
    """Also sample from this policy and choose its answers by the reward model."""
    prompts: Path | None = None
    """`{prompt}` records to sample for; needed with `policy`."""
    thinking: ThinkingMarks | None = None
    """How the policy marks its thinking, `{}` for `<think>` and `</think>`. The reward model then
    judges what follows it, as behind a gateway with the same setting. By default all is judged."""
    gold: GoldSettings | None = None
    """The function that gives the true reward of the chosen answers: yours, or one that asks a
    judge."""
    judge_reward: RewardSource | None = None
    """A reward model, or a server as for `reward`, that judges the chosen answers in place of
    `gold`; its rewards are not the truth."""
    output: Path
    """JSON file for the figures; a table in Markdown is written beside it."""
    label_weights: dict[str, LabelWeight] | None = None
    """Weighs the outputs of a model with several; by default as in `rm_meta.json`."""
    ensemble: Combine = "mean"
    """How the rewards of an ensemble's members become one."""
    device: str = "cpu"
    """A name of torch's; auto takes a GPU if there is one. The policy runs there too."""
    cut_prompts: bool = False
    """Cut the start of prompts that are too long for the model, instead of stopping."""
    gap_edges: tuple[Gap, ...] = (0.0, 0.5, 1.0, 2.0, 3.0)
    """Accuracy is reported for true gaps between each two of these, and above the last."""
    calibration_bins: Positive = 10
    """Bins of predicted probability in the calibration error."""
    samples: Positive = 32
    """Answers drawn per prompt; best of n is estimated for each n up to this."""
    n_values: tuple[Positive, ...] | None = None
    """Each n of the best-of-n curve; by default the powers of two up to `samples`."""
    max_new_tokens: Positive = 64
    """Sampled answers are cut here."""
    batch_size: Positive = 256
    """Conversations scored, or answers drawn, at a time."""
    seed: int = 0
    """Seed of the sampled answers."""

    @field_validator("gap_edges")
    @classmethod
    def _edges_rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError("gaps must rise")
        return value

    @model_validator(mode="after")
    def _there_is_something_to_do(self) -> "EvaluateSettings":
        sources = (self.pairs, self.reward_bench, self.reward_bench_2, self.steps, self.policy)
        if all(source is None for source in sources):
            raise ValueError(
                "one of pairs, reward_bench, reward_bench_2, steps and policy is needed"
            )
        if self.policy is None:
            refuse_templates(self)
        if self.policy is not None and self.prompts is None:
            raise ValueError("prompts: needed to sample from the policy")
        if self.policy is not None and (self.gold is None) == (self.judge_reward is None):
            raise ValueError("policy: one of gold and judge_reward must judge its answers")
        if self.policy is not None and max(self.n_values or (0,)) > self.samples:
            raise ValueError(f"n_values: at most samples, {self.samples}")
        return self

    @model_validator(mode="after")
    def _a_server_reads_by_its_own_settings(self) -> "EvaluateSettings":
        if isinstance(self.reward, Path):
            return self
        for key in ("label_weights", "ensemble", "cut_prompts"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: belongs to a folder; a server has settings of its own")
        if self.steps is not None:
            raise ValueError("steps: reward must be the folder of a process reward model")
        return self

    @property
    def reward_folder(self) -> Path | None:
        """None for a reward behind a server."""
        return self.reward if isinstance(self.reward, Path) else None

    @property
    def page(self) -> Path:
        """The tables, beside the JSON."""
        return self.output.with_suffix(".md")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Each n of the best-of-n curve."""
        if self.n_values is not None:
            return self.n_values
        return tuple(2**i for i in range(self.samples.bit_length()))
