"""Settings of `label`: what is labelled, by whom, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from trainers.base.settings import Positive
from trainers.preferences.forms import Form, PairChoice
from trainers.preferences.labellers.registry import AnyLabeller
from trainers.preferences.settings import InputSettings


class LabelSettings(InputSettings):
    """Answers in, preferences out."""

    labeller: AnyLabeller
    """Who prefers, by its ``type``."""
    output: Path
    """JSONL of preferences. Beside it `.labels.jsonl` keeps every verdict as it came, so that a
    run that was stopped goes on, and `.report.json` says what was dropped and why."""
    form: Form = "pairwise"
    """What a record of the output is."""
    pairs: PairChoice = "best_worst"
    """From more than two answers: the best against the worst, or every two."""
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    """Pairs that are known to be closer are dropped and counted."""
    max_chars: Positive | None = None
    """Answers are dropped that are longer, prompt included."""
