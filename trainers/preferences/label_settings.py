"""Settings of `label`: what is labelled, by whom, and what is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.base.settings import Positive, Settings
from trainers.endpoint.settings import ChatSettings, HttpSettings
from trainers.preferences.forms import Form, PairChoice
from trainers.preferences.settings import InputSettings

Compare = Literal["all", "chain"]
"""Every two answers of a prompt, or each with the next one only."""

JUDGE_PROMPT = """\
Compare two answers to the same conversation. Judge how well each does what the user wants: \
is it right, complete, clear and safe? Length is no merit, and neither is the order in which the \
answers are shown.

# Conversation
{conversation}

# Answer A
{a}

# Answer B
{b}

Explain your judgement in a few sentences. Then end with one of [[A]], [[B]] or [[tie]]."""

REWRITE_PROMPT = """\
Here is a conversation and an answer to it that could be better. Write the answer as it should \
have been. Reply with the new answer alone.

# Conversation
{conversation}

# Answer
{answer}"""


class JudgeSettings(Settings):
    """A judge model. Each two answers are shown in both orders, to cancel position bias."""

    kind: Literal["judge"]
    endpoint: ChatSettings
    prompt: str = JUDGE_PROMPT
    """With {conversation}, {a} and {b}; the verdict is the last [[A]], [[B]] or [[tie]]."""
    max_tokens: Positive = 512
    on_disagreement: Literal["drop", "tie"] = "drop"
    """What it means when the verdict depends on the order; counted either way."""
    compare: Compare = "all"

    @field_validator("prompt")
    @classmethod
    def _has_all_fields(cls, value: str) -> str:
        return _with_fields(value, ("conversation", "a", "b"))


class BleuSettings(Settings):
    """Sentence BLEU (sacrebleu, 0 to 100) against the record's reference."""

    kind: Literal["bleu"]


class RougeSettings(Settings):
    """ROUGE F-measure (rouge-score, 0 to 1) against the record's reference."""

    kind: Literal["rouge"]
    measure: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"


class ScoredPattern(Settings):
    """What an answer gets if the pattern is found in it."""

    pattern: str
    score: float = 1.0

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value


class RegexSettings(Settings):
    """The sum of the scores of all patterns that are found."""

    kind: Literal["regex"]
    patterns: Annotated[tuple[ScoredPattern, ...], Field(min_length=1)]


class RewardModelSettings(Settings):
    """A reward model, or an ensemble of them, in this process."""

    kind: Literal["reward_model"]
    model: Path
    batch_size: Positive = 32
    device: str = "cpu"
    """A name of torch's, or auto for a GPU if there is one."""
    label_weights: dict[str, float] | None = None
    """Weighs the outputs of a model with several; by default as in its `rm_meta.json`."""
    ensemble: Literal["mean", "worst"] = "mean"
    """What the members of an ensemble say together."""


class RewardServerSettings(HttpSettings):
    """A reward server (`POST /v1/score` below `url`)."""

    kind: Literal["reward_server"]


class HandSettings(Settings):
    """People, on a sheet or in the terminal, with the answers in a blind order."""

    kind: Literal["hand"]
    sheet: Path | None = None
    """A `.tsv` or `.jsonl` file: written by the first run, read back once it is filled in.
    Without it, and with a terminal, the questions are asked there."""
    compare: Compare = "all"
    seed: int = 0
    """Decides which answer is shown first."""

    @field_validator("sheet")
    @classmethod
    def _known_suffix(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in (".tsv", ".jsonl"):
            raise ValueError("a .tsv or .jsonl file is expected")
        return value


class RewriteSettings(Settings):
    """A model that rewrites each answer; the rewrite is preferred to what it was made from."""

    kind: Literal["rewrite"]
    endpoint: ChatSettings
    prompt: str = REWRITE_PROMPT
    """With {conversation} and {answer}."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Positive = 1024

    @field_validator("prompt")
    @classmethod
    def _has_all_fields(cls, value: str) -> str:
        return _with_fields(value, ("conversation", "answer"))


LabellerSettings = Annotated[
    JudgeSettings
    | BleuSettings
    | RougeSettings
    | RegexSettings
    | RewardModelSettings
    | RewardServerSettings
    | HandSettings
    | RewriteSettings,
    Field(discriminator="kind"),
]


class LabelSettings(InputSettings):
    """Answers in, preferences out."""

    labeller: LabellerSettings
    output: Path
    """JSONL of preferences. Beside it `.labels.jsonl` keeps every verdict as it came, so that a
    run that was stopped goes on, and `.report.json` says what was dropped and why."""
    form: Form = "pairwise"
    pairs: PairChoice = "best_worst"
    """From more than two answers: the best against the worst, or every two."""
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    """Pairs that are known to be closer are dropped and counted."""
    max_chars: Positive | None = None
    """Answers are dropped that are longer, prompt included."""


def _with_fields(template: str, names: tuple[str, ...]) -> str:
    missing = [name for name in names if f"{{{name}}}" not in template]
    if missing:
        raise ValueError(f"{{{missing[0]}}} is missing")
    return template


def fill(template: str, **texts: str) -> str:
    """The template with its fields replaced; braces anywhere else stay as they are.

    One pass, so that a field's name inside a text is not replaced in its turn.
    """
    return re.sub(
        "|".join(rf"\{{{name}\}}" for name in texts), lambda m: texts[m[0][1:-1]], template
    )
