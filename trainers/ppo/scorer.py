"""The reward function: the frozen reward model or ensemble, asked as the reward server asks it.

Answers go through text: what was sampled is decoded and rendered again in the reward model's own
chat template, so a score here is the score that is served, whatever tokens the policy used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from trainers.data import Message
from trainers.reward.judge import Judge


class Scorer:
    """Scores answers; the same answer gets the same score in any company."""

    def __init__(
        self, folder: Path, batch_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Load a reward model or an ensemble. Raises ModelError if the folder holds neither."""
        self._judge = Judge.load(folder, device=str(device), batch_size=batch_size, dtype=dtype)

    def score(self, prompts: Sequence[list[Message]], answers: Sequence[str]) -> list[float]:
        """The raw reward of each answer to its prompt, in order; an ensemble's standardised."""
        return self._judge.score_answers(prompts, answers)
