"""The settings of each command: one YAML file a run, closed, overridden key by key.

Nothing here reads a model or data; a key that does not exist is an error that names it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from bon_common.settings import errors
from bon_common.settings.sources import Override, SettingsTree, parse_pairs
from trainers.base.errors import SettingsError
from trainers.base.system_prompt import SystemPromptUse

ENV_PREFIX = "BON_TRAIN__"
"""Prefix of the environment variables that `bon-train` reads."""
DATA_FILES = (
    *("train", "prompts", "pairs", "eval_pairs", "eval_prompts"),
    *("reward_bench", "reward_bench_prior", "reward_bench_2"),
)
"""The settings of all commands that name one file of data."""

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    free: ClassVar[frozenset[str]] = frozenset()
    """Fields on which no figure depends: a resumed run may change them."""

    def deciding(self) -> dict[str, Any]:
        """All other fields, those of sections within included, as JSON."""
        values = self.model_dump(mode="json", exclude=set(self.free))
        sections = ((name, getattr(self, name)) for name in values)
        return values | {
            name: one.deciding() for name, one in sections if isinstance(one, Settings)
        }


class LoraSettings(Settings):
    """A low-rank adapter in place of all weights; it is merged when the run ends."""

    r: Positive = 16
    """Rank of the adapter's matrices."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The adapter's output is scaled by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs that a training step drops."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Layers that get an adapter, by the ends of their names; `all-linear`: all but the output."""

    @field_validator("target_modules")
    @classmethod
    def _some_module(
        cls, value: Literal["all-linear"] | tuple[str, ...]
    ) -> Literal["all-linear"] | tuple[str, ...]:
        if not value:
            raise ValueError("name at least one layer, or all-linear")
        return value


class TemplateSettings(Settings):
    """How conversations become tokens. All of it is written into the output's tokenizer, so that
    its server needs no setting."""

    eos_token: str | None = None
    """The token that ends a turn, if the tokenizer names another one and the checkpoint's
    generation settings do not name it either; `<|im_end|>` for a base model with a ChatML
    template."""
    pad_token: str | None = None
    """The token that fills batches, if the tokenizer has none or pads with the end of a turn. It
    must be in the vocabulary."""
    chat_template: Path | None = None
    """File with a Jinja chat template, or the name of one of the tokenizer's own; by default the
    tokenizer's, and of several the one for tools where a record has tools."""
    system_prompt: SystemPromptUse = "keep"
    """What the chat template does with system messages: `keep` leaves it as it is, `drop` leaves
    them out, `merge` puts them before the first message of the user. The last two are for templates
    that refuse a system message."""
    skip_bad: bool = False
    """Count lines that cannot be read and records that the chat template refuses, instead of
    stopping at the first."""


def refuse_templates(settings: TemplateSettings) -> None:
    """Raise ValueError for a token or template where there is no `policy` to have it."""
    for name, field in TemplateSettings.model_fields.items():
        if name != "skip_bad" and getattr(settings, name) != field.default:
            raise ValueError(f"{name}: only a policy in this process (policy) takes it")


class TrainSettings(TemplateSettings):
    """What every training run needs. Weights stay float32."""

    free = frozenset({"output", "train", "log_every", "save_every", "keep_checkpoints"})
    """The data is compared by its hash."""

    model: str
    """Checkpoint folder or hub name (`owner/name`) to start from; its tokenizer and chat template
    are used and copied."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    adapter: Literal["merge", "continue"] = "merge"
    """Where `model` is an adapter's folder. `merge`: it is merged into its base, and the run trains
    the result, whole or with a new adapter (`lora`). `continue`: the same adapter is trained on."""
    train: Path
    """Records to train on: JSONL, gzipped JSONL or parquet."""
    output: Path
    """Folder for the weights, `metrics.jsonl` and the model card."""
    seed: int = 0
    """Seeds the order of the records, dropout and new weights."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the records; a fraction stops within a pass."""
    max_steps: Positive | None = None
    """Stops after this many updates, even within the first epoch."""
    batch_size: Positive = 64
    """Conversations, or pairs, per update, over all processes and passes."""
    accumulate: Positive = 1
    """Passes into which an update is split; more of them need less memory."""
    lora: LoraSettings | None = None
    """Train an adapter instead of all weights."""
    quantization: Literal["nf4"] | None = None
    """Keep the frozen weights under the adapter in four bits (QLoRA). Needs `lora`, a CUDA GPU and
    bitsandbytes. The output is the adapter added to the unquantized weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which layers compute. Weights, gradients and the optimiser are float32 in both.
    `bfloat16` keeps less for the backward pass, and is faster on hardware that has it."""
    gradient_checkpointing: bool = False
    """Keep only what enters each layer, and compute the rest again in the backward pass: less
    memory, about a third more time, the same gradients."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Highest rate, reached after the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Updates over which the rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's."""
    max_length: Positive = 512
    """Longer records (prompt plus answer, in tokens) are dropped, counted and reported."""
    log_every: Positive = 10
    """Updates between lines of `metrics.jsonl`."""
    save_every: Positive | None = None
    """Updates between checkpoints, from which --resume goes on; null writes none."""
    keep_checkpoints: Positive = 2
    """Older checkpoints are removed."""

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _adapter_over_four_bits(self) -> "TrainSettings":
        if self.quantization is not None and self.lora is None:
            raise ValueError("quantization: weights in four bits cannot be trained; set lora")
        return self

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if self.adapter == "continue" and self.lora is not None:
            raise ValueError("lora: with adapter: continue the adapter keeps its own shape")
        return self


SettingsT = TypeVar("SettingsT", bound=Settings)


def shipped(name: str) -> Path:
    """The path of a settings file in `trainers/configs`."""
    return Path(str(files("trainers") / "configs" / name))


def load_settings(
    kind: type[SettingsT],
    path: Path | None,
    pairs: Sequence[str] = (),
    *,
    overrides: Iterable[Override] = (),
    environ: Mapping[str, str] | None = None,
) -> SettingsT:
    """Read `path`, if there is one; override it from the environment, then by `overrides`, then by
    `key=value` pairs (values are YAML); check the result.

    Raises SettingsError with the source, the key and the reason.
    """
    tree = SettingsTree()
    try:
        if path is not None:
            tree.read(path)
        tree.environment(environ or {}, ENV_PREFIX)
        tree.override([*overrides, *parse_pairs(pairs)])
        return tree.checked(kind)
    except errors.SettingsError as error:
        raise SettingsError(str(error)) from None


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key and the value of each setting, however deep, as --set takes them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def require_files(settings: Settings) -> None:
    """SettingsError for a data file that is not there. A command that trains would find out after
    it has loaded torch and a model."""
    for name in DATA_FILES:
        path = getattr(settings, name, None)
        if isinstance(path, Path):
            try:
                path.stat()
            except OSError as error:
                raise SettingsError(f"{name}: {path}: {error.strerror or error}") from error
