"""TRL's DPOTrainer on rows that are tokenised already, with log-probabilities that are known."""

from typing import Any

from datasets import Dataset
from trl.trainer.dpo_trainer import DPOTrainer

from trainers.dpo.reference import ReferenceLogps
from trainers.dpo.settings import DpoSettings
from trainers.runtime.trainer import RunTrainer

LOGP_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
"""The columns in which TRL's loss looks for the reference's log-probabilities."""


class TokenisedDPOTrainer(RunTrainer, DPOTrainer):
    """Takes rows as `trainers.dpo.data` makes them and leaves them as they are.

    TRL would tokenise them itself, and compute the reference's side anew for each run: its cache
    lives in the data set's temporary files.
    """

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def loss_arguments(settings: DpoSettings) -> dict[str, Any]:
    """The fields of TRL's DPOConfig that say what is optimised."""
    weights = {settings.loss: 1.0}
    if settings.sft_weight > 0:
        weights["sft"] = weights.get("sft", 0.0) + settings.sft_weight
    return {
        "beta": settings.beta,
        "loss_type": list(weights),
        "loss_weights": list(weights.values()),
        "label_smoothing": settings.label_smoothing,
        "precompute_ref_log_probs": settings.reference_logps == "precompute",
        # The sampler groups by the `length` column, which TRL does not count as used.
        "remove_unused_columns": False,
    }


def make_dataset(rows: list[dict[str, Any]], logps: ReferenceLogps | None) -> Dataset:
    """TRL's input, with the reference's log-probabilities beside the ids where they are known."""
    if logps is None:
        return Dataset.from_list(rows)
    values = zip(logps.chosen, logps.rejected, strict=True)
    return Dataset.from_list(
        [
            {**row, **dict(zip(LOGP_COLUMNS, pair, strict=True))}
            for row, pair in zip(rows, values, strict=True)
        ]
    )
