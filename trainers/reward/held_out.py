"""Held-out pairs, read before training, so that a bad line costs no run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from reward_server.scoring.render import Renderer
from trainers.base.data import read_placed
from trainers.base.errors import DataError
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.one import render
from trainers.rewards.pairs import PlacedPair, SectionPair


@dataclass(frozen=True)
class HeldOutPairs:
    pairs: Sequence[PlacedPair] = ()
    dropped: int = 0
    """Pairs with an answer over the length limit."""


def read_held_out(
    settings: RewardTrainSettings, tokenizer: PreTrainedTokenizerBase
) -> HeldOutPairs:
    """The pairs of `eval_pairs` that are short enough, none without such a file.

    Raises DataError for a bad line, for one that the chat template refuses, and if all are long.
    """
    if settings.eval_pairs is None:
        return HeldOutPairs()
    renderer = Renderer(tokenizer)
    placed = read_placed(SectionPair, settings.eval_pairs)
    kept = [
        (where, pair)
        for where, pair in placed
        if all(
            len(render(renderer, pair.asked.answered(answer), where).ids) <= settings.max_length
            for answer in (pair.chosen, pair.rejected)
        )
    ]
    if not kept:
        raise DataError(f"{settings.eval_pairs}: every pair exceeds max_length")
    return HeldOutPairs(kept, len(placed) - len(kept))
