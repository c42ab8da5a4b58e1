"""The settings of `bon-train export`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.base.settings import Positive, Settings


class SamplingDefaults(Settings):
    """What `generation_config.json` says; vLLM samples by it unless a request says otherwise.

    The values here leave the model's own distribution as it is, which is what it was tuned on.
    """

    temperature: Annotated[float, Field(ge=0)] = 1.0
    """What vLLM samples at where a request names no temperature."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Its default nucleus."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """0 keeps all tokens."""
    max_new_tokens: Positive | None = None
    """Its default limit; None leaves it to vLLM."""


class AdapterSettings(Settings):
    """The adapter to write: what the model differs by from its base, as matrices of a low rank."""

    base: str
    """What the model was tuned from, over however many runs: checkpoint folder or hub name."""
    base_revision: str | None = None
    """Branch, tag or commit of a hub base."""
    r: Positive = 16
    """Rank of the matrices. Where the difference has a higher one, its largest parts are kept, and
    the run says how much of it that is."""

    @field_validator("base", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value


class ExportSettings(Settings):
    """Makes a folder that vLLM serves: a policy, or a reward model with `--runner pooling`."""

    model: str
    """Checkpoint folder, folder of a LoRA adapter, or hub name."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    base: str | None = None
    """What an adapter is merged into; without it, the model that the adapter names."""
    base_revision: str | None = None
    """Branch, tag or commit of a hub base."""
    output: Path
    """Folder to make; it must not exist."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the stored weights."""
    as_adapter: AdapterSettings | None = None
    """Write a LoRA adapter in place of the whole model."""
    generation: SamplingDefaults = SamplingDefaults()
    """For policies only."""

    @field_validator("model", "base", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value
