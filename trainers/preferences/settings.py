"""Settings of `collect`, `label` and `prepare`. Nothing here reads data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from trainers.base.lines import MAX_LINE_BYTES
from trainers.base.settings import Positive, Settings, Share, TemplateSettings, refuse_templates
from trainers.base.thinking import ThinkingMarks
from trainers.endpoint.settings import ChatSettings
from trainers.preferences.forms import Form, PairChoice
from trainers.preferences.labellers.registry import AnyLabeller
from trainers.preferences.readers import AUTO, FORMATS
from trainers.preferences.readers.mapping import FieldMapping
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.split import SplitBy
from trainers.preferences.steps import BETTER, STEP_MARGINS

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[(AUTO, *FORMATS)]


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str | Path) else value


def _not_empty(value: tuple[Path, ...]) -> tuple[Path, ...]:
    if not value:
        raise ValueError("at least one file is expected")
    return value


Files = Annotated[tuple[Path, ...], BeforeValidator(_one_or_many), AfterValidator(_not_empty)]
"""One path, or a list of them; `data_files` makes files of folders and patterns."""


class ReadSettings(Settings):
    """How files of other people's making are read."""

    skip_bad: bool = False
    """Count lines that cannot be read instead of stopping at the first."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Where the fields of the format are if they have other names: `{prompt: question, chosen:
    answers.best}`. A dot goes into an object, a number into a list."""
    ignore_fields: tuple[str, ...] = ()
    """Fields without anything to learn from. They need no mention where they are not read, and
    `metadata` among them is not taken along."""
    templated: bool = False
    """Take prompts that begin with a chat template's tokens, such as `<|im_start|>user`, as the
    text of a message. Otherwise they are bad lines: the trainers render prompts themselves."""

    @property
    def reading(self) -> ReadOptions:
        return ReadOptions(
            fields=FieldMapping(self.fields),
            ignore_fields=frozenset(self.ignore_fields),
            templated=self.templated,
        )


class CollectSettings(ReadSettings, TemplateSettings):
    """Several answers to each prompt, from a server or from a policy in this process. The settings
    of tokens and templates are those of `policy`."""

    prompts: Files
    """Files, folders or patterns of `{prompt}` or `{messages}` lines, or of any preference data;
    only its prompts are read."""
    output: Path
    """JSONL in the listwise form, without scores. Prompts that it already holds are skipped."""
    endpoint: ChatSettings | None = None
    """The server to ask. Name either this or `policy`."""
    best_of_n: bool = False
    """Set it if `endpoint` is a bon-gateway's best-of-n model: one request a prompt then brings all
    `samples` candidates, with their rewards as scores."""
    policy: Path | None = None
    """The checkpoint folder to sample from in this process."""
    device: str = "cpu"
    """Where the policy runs: a name of torch's, or auto for a GPU if there is one."""
    thinking: ThinkingMarks | None = None
    """How that policy marks its thinking, `{}` for `<think>` and `</think>`; it is then written as
    `reasoning_content`. By default it stays in the content."""
    policy_name: str | None = None
    """The policy's name in the output; by default the served name, or the folder's."""
    policy_revision: str | None = None
    """The policy's revision in the output, for a policy that changes."""
    samples: Annotated[int, Field(ge=2)] = 2
    """Answers to each prompt."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Sampling temperature. At 0 all answers would be equal, with nothing to compare."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability that tokens are drawn from; 1 is all tokens."""
    max_tokens: Positive = 512
    """Answers are cut here."""
    seed: int = 0
    """Each answer gets a seed of its own, derived from this one."""
    limit: Positive | None = None
    """Use only this many prompts, the first ones."""
    batch_size: Positive = 64
    """Answers drawn at a time in this process."""

    @model_validator(mode="after")
    def _one_source(self) -> CollectSettings:
        if self.endpoint is None and self.policy is None:
            raise ValueError("either endpoint or policy is needed")
        if self.endpoint is not None and self.policy is not None:
            raise ValueError(
                "both endpoint and policy are there; leave one out, or set it to null "
                "(--set endpoint=null)"
            )
        if self.policy is None:
            refuse_templates(self)
        if self.best_of_n and self.endpoint is None:
            raise ValueError("best_of_n: only an endpoint can be a bon-gateway's")
        return self

    @property
    def source_name(self) -> str:
        if self.policy_name is not None:
            return self.policy_name
        if self.policy is not None:
            return self.policy.name
        assert self.endpoint is not None
        return self.endpoint.model or self.endpoint.url


class InputSettings(ReadSettings):
    """Preference data: which files, how strictly they are read, and the form of the output."""

    input: Files
    """Files, in order: JSON lines or arrays, CSV or parquet, packed or not. A folder stands for the
    data files in it, such as the gateway's recording folder, and a pattern (`logs/*.jsonl.gz`) for
    those that match. A single path will do."""
    format: FormatName = AUTO
    """The format of all files; "auto" decides by the first records of each."""
    max_line_bytes: Positive = MAX_LINE_BYTES
    """A longer line counts as bad."""
    step_margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: dict(STEP_MARGINS)
    )
    """Margins of the three better steps of the six-step scale; worse mirrors better."""
    keep_cut: bool = False
    """Keep answers of the candidate log that were cut at their token limit."""
    keep_degraded: bool = False
    """Keep finished candidates of requests that the candidate log calls degraded, such as those
    that lost other candidates."""
    form: Form = "pairwise"
    """The form of the output's records. The reward and DPO trainers read pairwise records."""
    pairs: PairChoice = "best_worst"
    """Pairs from more than two answers: the best against the worst, or every two."""
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    """Pairs that are known to be closer are dropped and counted."""
    max_chars: Positive | None = None
    """Answers that are longer, prompt included, are dropped and counted."""

    @field_validator("step_margins")
    @classmethod
    def _all_steps(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(BETTER):
            raise ValueError(f"a number for each of {', '.join(BETTER)} is expected")
        return value

    @property
    def options(self) -> ReadOptions:
        return replace(
            self.reading,
            step_margins=self.step_margins,
            keep_cut=self.keep_cut,
            keep_degraded=self.keep_degraded,
        )


class LabelSettings(InputSettings):
    """Answers in, preferences out."""

    labeller: AnyLabeller
    """Who or what prefers, by its ``type``."""
    output: Path
    """JSONL of preferences. Beside it `.labels.jsonl` keeps every label as it came, so that a
    run that was stopped goes on, and `.report.json` says what was dropped and why."""


class PrepareSettings(InputSettings):
    """Any known format in, canonical training and held-out files out."""

    output: Path
    """Folder for `train.jsonl`, `held-out.jsonl` and `prepare.report.json`."""
    layout: Literal["canonical", "conversations"] = "canonical"
    """How pairs are written: with a prompt of their own, or as two whole conversations, which
    OpenRLHF and other trainers read."""
    held_out_share: Share = 0.05
    """Expected share of the prompts that is held out; 0 writes no such file."""
    split_by: SplitBy = "prompt"
    """Unit that must not be in both files: the whole prompt, or a dialogue's first turns."""
    seed: int = 0
    """Decides which prompts are held out."""
    drop_duplicates: bool = True
    """Write equal records once."""

    @model_validator(mode="after")
    def _layout_fits(self) -> PrepareSettings:
        if self.layout == "conversations" and self.form != "pairwise":
            raise ValueError("layout: only pairs can be written as conversations")
        return self
