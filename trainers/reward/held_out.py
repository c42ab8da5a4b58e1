"""Held-out pairs, read before training, so that a bad line costs no run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from reward_server.scoring.render import Renderer
from trainers.base.bad_lines import BadLines
from trainers.base.data import read_placed
from trainers.base.errors import DataError
from trainers.reward.data import renderer_of
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.one import render
from trainers.rewards.pairs import PlacedPair, SectionPair
from trainers.rewards.steps import LabelledSteps, PlacedSteps, rendered_steps


@dataclass(frozen=True)
class HeldOutPairs:
    pairs: Sequence[PlacedPair] = ()
    dropped: int = 0
    """Pairs with an answer over the length limit."""


def read_held_out(
    settings: RewardTrainSettings, tokenizer: PreTrainedTokenizerBase, bad: BadLines | None = None
) -> HeldOutPairs:
    """The pairs of `eval_pairs` that are short enough, none without such a file.

    Raises DataError for a bad line and for one that the chat template refuses, unless `bad` counts
    them, and if none is left.
    """
    if settings.eval_pairs is None:
        return HeldOutPairs()
    renderer = Renderer(tokenizer)
    bad = bad or BadLines(skip=settings.skip_bad)
    kept, dropped = [], 0
    for where, pair in read_placed(SectionPair, settings.eval_pairs, bad):
        with bad.tried():
            lengths = [
                len(render(renderer, pair.asked.answered(answer), where).ids)
                for answer in (pair.chosen, pair.rejected)
            ]
            if max(lengths) <= settings.max_length:
                kept.append((where, pair))
            else:
                dropped += 1
    if not kept:
        skipped = f", {bad.count} bad lines were skipped" if bad.count else ""
        raise DataError(f"{settings.eval_pairs}: every pair exceeds max_length{skipped}")
    return HeldOutPairs(kept, dropped)


def read_held_out_steps(
    settings: RewardTrainSettings, tokenizer: PreTrainedTokenizerBase, bad: BadLines
) -> list[PlacedSteps]:
    """The records of `eval_steps`, none without such a file; records that are too long are bad
    lines.

    Raises DataError like `read_held_out`.
    """
    if settings.eval_steps is None:
        return []
    renderer, reading = renderer_of(settings, tokenizer), settings.steps.reading
    kept = []
    for where, record in read_placed(LabelledSteps, settings.eval_steps, bad):
        with bad.tried():
            length = len(rendered_steps(renderer, reading, record, where).ids)
            if length > settings.max_length:
                raise DataError(f"{where}: {length} tokens, max_length is {settings.max_length}")
            kept.append((where, record))
    if not kept:
        raise DataError(f"{settings.eval_steps}: no record is left")
    return kept
