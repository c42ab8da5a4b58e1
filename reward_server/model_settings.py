"""What can be set for each model that is served: a network of its own, or an ensemble of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from bon_common.ensemble import Combine
from bon_common.process_reward import Aggregate, StepReading
from bon_common.settings.weights import LabelWeight
from reward_server.schema import OnOverflow

CLOSED = ConfigDict(
    extra="forbid",
    frozen=True,
    protected_namespaces=(),
    use_attribute_docstrings=True,
    allow_inf_nan=False,
)


class StepSettings(BaseModel):
    """How a process reward model reads an answer step by step."""

    model_config = CLOSED

    separator: str = Field(default="\n\n", min_length=1)
    """Text between two steps of an answer. White space around a step is dropped."""
    token: str | None = Field(default=None, min_length=1)
    """The mark that the model expects behind each step, one token of its vocabulary, such as
    `<extra_0>` of Qwen2.5-Math-PRM. By default it is the separator."""
    label: str | None = None
    """The label that means a right step, by its name in the model's configuration. By default the
    second of two, or the only one."""
    aggregate: Aggregate = "min"
    """How the scores of steps become the answer's reward. `min` and `product` ask whether every
    step is right; `product` also falls with the number of steps. `last` is the score behind the
    whole answer. `mean` forgives a wrong step in a long answer."""

    @property
    def reading(self) -> StepReading:
        """The same values for the code that reads steps."""
        return StepReading(**self.model_dump())


class ModelKeys(BaseModel):
    """The settings of a model, except which one it is."""

    model_config = CLOSED

    served_model_name: str | None = Field(default=None, min_length=1)
    """Name in the API; by default the last part of `model`."""
    revision: str | None = None
    """Hub revision."""
    trust_remote_code: bool = False
    """Run code that comes with the checkpoint."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps|xpu(:\d+)?)$")
    """Where the model runs; auto takes CUDA if there is one."""
    device_map: (
        Literal["auto", "balanced", "balanced_low_0", "sequential"] | dict[str, int | str] | None
    ) = None
    """Spread the layers over several devices, as `accelerate` understands it; instead of `device`.
    The package has to be installed."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the network; auto is float32 on the CPU and bfloat16 elsewhere. A CPU that
    cannot multiply in bfloat16 (one with AVX2 alone) is slower in it, one that can is faster."""
    compile: bool = False
    """Compile the network with torch.compile; the first calls take longer. On the CPU it needs
    `g++`."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of one forward on the CPU, for the whole process; by default torch's own choice."""
    label_weights: Mapping[str, LabelWeight] | None = None
    """Weight of each label of a model with several; a label without a weight does not count. By
    default the weights that the model was trained with, if its folder states them
    (`rm_meta.json`)."""
    steps: StepSettings | None = None
    """Serve a process reward model: how an answer splits into steps, and how their scores become a
    reward. The default is the trainer's note (`rm_meta.json`); without one the model scores whole
    answers."""
    allow_pad_eos: bool = False
    """Serve a decoder whose padding token is its end of text, read at the last token."""
    chat_template: PurePath | None = None
    """File with a Jinja chat template to use instead of the tokenizer's."""
    system_prompt: Literal["keep", "drop"] = "keep"
    """Whether system messages reach the model; `drop` is for those trained without them."""
    combine: Combine = "mean"
    """How one reward comes of an ensemble's members, where `model` is a folder that
    `bon-train reward` filled with several (`ensemble.json`); as for an ensemble in `models`."""
    penalty: float = Field(default=1.0, ge=0)
    """Weight of the standard deviation with `combine: mean_minus_sd`, or of the variance with
    `mean_minus_variance`."""
    partial_turn: Literal["closed", "open"] = "closed"
    """How an unfinished answer is rendered: with the end of its turn, as a finished one is, or
    without, for a model that was trained on such beginnings."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longest sequence in tokens; by default the model's context limit."""
    on_overflow: OnOverflow = "refuse"
    """Refuse a conversation that is too long, or cut its prompt's left side."""

    share_prompt: bool | None = None
    """Compute a prompt once for all its candidates, where the network's attention allows it; by
    default on the CPU only. On a GPU that is FlexAttention, compiled when it is first used; it is
    tested on the CPU and measured on no GPU yet."""
    pack_weights: bool = True
    """Rearrange large weight matrices for faster products, on the CPU in float32; not with
    `compile`. Each matrix exists twice while it is packed."""
    prefix_cache_mb: float = Field(default=512, ge=0)
    """Memory, in MiB, for keys and values of prompts whose candidates may still come; 0 keeps none.
    Needs `share_prompt`."""
    prefix_life_s: float = Field(default=60, gt=0)
    """Seconds after its last use that a prompt is kept."""
    max_batch_tokens: int = Field(default=16384, ge=1)
    """Tokens in one forward, padding included; a longer sequence runs alone."""
    slice_tokens: int | None = Field(default=None, ge=16)
    """Smallest piece, in tokens, into which a large request is cut; by default 256 on the CPU and
    4096 elsewhere. Smaller pieces let small requests through sooner."""
    max_queue_sequences: int = Field(default=1024, ge=1)
    """Sequences that may wait before requests are refused with 503."""
    max_queue_tokens: int = Field(default=1 << 20, ge=1)
    """Tokens that may wait before requests are refused with 503."""


class ModelSettings(ModelKeys):
    """A network and how it is served."""

    type: Literal["model"] = "model"
    model: str = Field(min_length=1)
    """Checkpoint folder, or hub id, of a sequence-classification model or a process reward model;
    or the folder of an ensemble."""

    @property
    def model_name(self) -> str:
        """The name that clients use."""
        return self.served_model_name or PurePath(self.model).name or self.model


class Normalisation(BaseModel):
    """How a model's rewards spread over answers."""

    model_config = CLOSED

    mean: float
    """Subtracted from a reward."""
    std: float = Field(gt=0)
    """Divides what is left."""


class EnsembleSettings(BaseModel):
    """Other models of the same server, asked together.

    Each member's reward is standardised first: raw rewards differ in zero point and scale.
    """

    model_config = CLOSED

    type: Literal["ensemble"]
    members: tuple[str, ...] = Field(min_length=2)
    """Names of models in the same file."""
    combine: Combine = "mean"
    """Of the members' standardised rewards: their mean, the lowest of them, or their mean less
    `penalty` times their standard deviation or variance. All but the mean distrust answers about
    which the members disagree."""
    penalty: float = Field(default=1.0, ge=0)
    """Weight of the standard deviation, or of the variance."""
    normalisation: dict[str, Normalisation] = Field(default_factory=dict)
    """Mean and spread of members whose folders do not state them (`rm_meta.json`)."""


def _kind(value: Any) -> str:
    found = value.get("type", "model") if isinstance(value, dict) else getattr(value, "type", None)
    return str(found)


ServedSettings = Annotated[
    Annotated[ModelSettings, Tag("model")] | Annotated[EnsembleSettings, Tag("ensemble")],
    Discriminator(_kind),
]
