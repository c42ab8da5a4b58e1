"""Which of a model's labels make the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bon_common.process_reward import StepReading, right_label
from reward_server.errors import StartupError


def weights_of(labels: list[str], label_weights: Mapping[str, float] | None) -> list[float]:
    if label_weights is None:
        if len(labels) != 1:
            raise StartupError(
                "label_weights", f"the model has {len(labels)} labels; weigh {', '.join(labels)}"
            )
        return [1.0]
    unknown = sorted(set(label_weights) - set(labels))
    if unknown:
        raise StartupError(
            "label_weights", f"no label {', '.join(unknown)}; there are {', '.join(labels)}"
        )
    return [float(label_weights.get(label, 0.0)) for label in labels]


def right_of(
    labels: Sequence[str], steps: StepReading, label_weights: Mapping[str, float] | None
) -> int:
    if label_weights is not None:
        raise StartupError("label_weights", "steps.label names the label that counts")
    try:
        return right_label(labels, steps.label)
    except ValueError as error:
        raise StartupError("steps.label", str(error)) from error
