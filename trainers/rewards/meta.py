"""`rm_meta.json`, beside a reward model's weights: its outputs and how they spread.

The reward server shows the part under `normalisation`; rewards themselves are served raw.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bon_common.process_reward import StepReading, read_step_notes
from trainers.base.errors import ModelError
from trainers.base.files import write_json

NAME = "rm_meta.json"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of raw numbers over training answers."""

    mean: float
    std: float
    answers: int
    """Number of answers that were measured."""


@dataclass(frozen=True)
class Dimension:
    """One output of the model."""

    name: str
    weight: float
    """Its weight in the reward."""
    mean: float
    std: float


@dataclass(frozen=True)
class RewardMeta:
    normalisation: Spread
    """Of the reward: all outputs combined by their weights."""
    dimensions: Sequence[Dimension]
    """In the order of the outputs."""
    objective: str
    answers_per_prompt: int
    """The largest number of answers in a training record."""
    max_length: int
    """Tokens; longer training records were left out."""
    chat_template_sha256: str | None
    """None for an encoder that reads prompt and answer as a pair of texts."""
    pad_token_id: int
    eos_token_id: int | None
    data: Mapping[str, str]
    """SHA-256 of each training file, by its name."""
    output: str = "raw logits"
    """The head's numbers are served as they are, without a sigmoid."""
    steps: Mapping[str, str | None] | None = None
    """For a process reward model: how steps are marked, and how their scores become a reward."""

    @property
    def reading(self) -> StepReading | None:
        return None if self.steps is None else read_step_notes(self.steps)

    @property
    def weights(self) -> dict[str, float]:
        return {dimension.name: dimension.weight for dimension in self.dimensions}


def template_hash(template: str | Mapping[str, str] | None) -> str | None:
    """SHA-256 of a chat template, or of all the named ones that a tokenizer has."""
    if template is None:
        return None
    text = template if isinstance(template, str) else json.dumps(dict(template), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_meta(folder: Path, meta: RewardMeta) -> None:
    """Raises RunError if the disk is full."""
    write_json(folder / NAME, asdict(meta))


def read_meta(folder: Path) -> RewardMeta | None:
    """The file that `write_meta` wrote, or None if the folder has none.

    Raises ModelError for a file that is not of this form.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["normalisation"] = Spread(**values["normalisation"])
        values["dimensions"] = [Dimension(**one) for one in values["dimensions"]]
        if values.get("steps") is not None:
            read_step_notes(values["steps"])
        return RewardMeta(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: not what bon-train reward writes: {error}") from error
