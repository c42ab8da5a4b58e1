"""Settings of `prepare`. Nothing here reads data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.base.lines import MAX_LINE_BYTES
from trainers.base.settings import Positive, Settings, Share
from trainers.preferences.forms import Form, PairChoice
from trainers.preferences.readers.options import STEP_MARGINS, ReadOptions
from trainers.preferences.split import SplitBy
from trainers.preferences.steps import BETTER

FormatName = Literal[
    "auto",
    "candidate_log",
    "listwise",
    "ultrafeedback",
    "rewardbench2",
    "hh",
    "implicit",
    "rewardbench",
    "canonical",
    "rewrite",
    "steps",
    "pointwise",
    "ranking",
    "logged",
]


class InputSettings(Settings):
    """Which files are read, and how strictly."""

    input: tuple[Path, ...]
    """Files, in order: `.jsonl`, `.jsonl.gz` or `.parquet`. A single path will do."""
    format: FormatName = "auto"
    """The format of all of them; "auto" goes by the first record of each."""
    skip_bad: bool = False
    """Count lines that cannot be read instead of stopping at the first."""
    max_line_bytes: Positive = MAX_LINE_BYTES
    """A longer line counts as bad."""
    step_margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: dict(STEP_MARGINS)
    )
    """What the three better steps of the six-step scale are worth; worse mirrors better."""
    keep_cut: bool = False
    """Keep answers of the candidate log that were cut at their token limit."""
    keep_degraded: bool = False
    """Keep what finished in requests of the candidate log that lost other candidates, or in which
    something else was not as it should be."""

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("input")
    @classmethod
    def _not_empty(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not value:
            raise ValueError("at least one file is expected")
        return value

    @field_validator("step_margins")
    @classmethod
    def _all_steps(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(BETTER):
            raise ValueError(f"a number for each of {', '.join(BETTER)} is expected")
        return value

    @property
    def options(self) -> ReadOptions:
        return ReadOptions(self.step_margins, self.keep_cut, self.keep_degraded)


class PrepareSettings(InputSettings):
    """Any known format in, canonical training and held-out files out."""

    output: Path
    """Folder for `train.jsonl`, `held-out.jsonl` and `prepare.report.json`."""
    form: Form = "pairwise"
    """What to write. The reward and DPO trainers read pairwise records."""
    layout: Literal["canonical", "conversations"] = "canonical"
    """How pairs are written: with a prompt of their own, or as two whole conversations, which
    OpenRLHF and other trainers read."""
    pairs: PairChoice = "best_worst"
    """From a list of answers: the best against the worst, or every two."""
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    """Pairs that are known to be closer are dropped and counted."""
    held_out_share: Share = 0.05
    """Expected share of the prompts that is held out; 0 writes no such file."""
    split_by: SplitBy = "prompt"
    """What must not be in both files: whole prompts, or the first turns of dialogues."""
    seed: int = 0
    """Decides which prompts are held out."""
    max_chars: Positive | None = None
    """Answers are dropped that are longer, prompt included."""
    drop_duplicates: bool = True
    """Write equal records once."""

    @model_validator(mode="after")
    def _layout_fits(self) -> PrepareSettings:
        if self.layout == "conversations" and self.form != "pairwise":
            raise ValueError("layout: only pairs can be written as conversations")
        return self
