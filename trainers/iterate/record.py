"""What a round did, for `rounds.json`: from which policy it sampled, with what outcome."""

from collections.abc import Mapping
from typing import Any

from trainers.base.data import data_hash
from trainers.iterate.files import RoundFolder
from trainers.iterate.labelling import Labelled
from trainers.iterate.settings import IterateSettings


def round_record(
    settings: IterateSettings,
    number: int,
    files: RoundFolder,
    *,
    start: str,
    reference: str,
    sampled_from: Mapping[str, Any],
    labelled: Labelled,
    prompts: int,
    figures: Mapping[str, float],
    measured: Mapping[str, float],
) -> dict[str, Any]:
    """One entry of `rounds.json`, everything in it JSON."""
    return {
        "round": number,
        "start": start,
        "reference": reference,
        "sampling": {
            **sampled_from,
            "temperature": settings.temperature,
            "samples": settings.samples,
            "max_new_tokens": settings.max_new_tokens,
        },
        "prompts": prompts,
        "pairs": len(labelled.pairs),
        "pairs_sha256": data_hash(files.pairs),
        "left_out": {
            "answers cut by the limit": labelled.cut,
            "prompts with fewer than two whole answers": labelled.too_few,
            "prompts whose answers are all equal": labelled.equal,
            "prompts whose rewards are too close": labelled.close,
        },
        "reward of an answer": labelled.mean_reward,
        "reward of the best answer": labelled.mean_best,
        "dpo": dict(figures),
        "after": dict(measured),
        "policy": str(files.policy),
    }
