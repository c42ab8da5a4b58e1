"""Opens a reward from a folder or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainers.rewards.answers import AnswerScorer
from trainers.rewards.remote import RemoteScorer
from trainers.rewards.settings import RewardSource


def open_scorer(source: RewardSource, **options: Any) -> AnswerScorer:
    """The scorer of a folder, which `RewardScorer.load` loads with `options`, or of a server, which
    has its own options. Raises ModelError, and SettingsError for a key that is not set."""
    if not isinstance(source, Path):
        return RemoteScorer(source)
    from trainers.rewards.scorer import RewardScorer

    return RewardScorer.load(source, **options)
