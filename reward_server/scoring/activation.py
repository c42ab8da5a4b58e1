"""Turns a classifier's numbers into probabilities, as other servers do.

A sigmoid keeps the order of rewards, but good answers come close to 1 and tie there. So this
server's own route answers raw numbers; routes that other servers have too answer as those do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reward_server.info import Activation


def activation_of(config: Any) -> Activation:
    """Function that vLLM applies to the numbers of a model with this configuration."""
    by_problem: dict[str | None, Activation] = {
        "regression": "none",
        "single_label_classification": _usual(config.num_labels),
        "multi_label_classification": "sigmoid",
    }
    problem = getattr(config, "problem_type", None)
    if problem in by_problem:
        return by_problem[problem]
    # Cross-encoders of sentence-transformers state it in a newer and an older way.
    named = (getattr(config, "sentence_transformers", None) or {}).get("activation_fn")
    named = named or getattr(config, "sbert_ce_default_activation_function", None)
    return "none" if str(named).endswith(".Identity") else _usual(config.num_labels)


def activated(values: Sequence[float], activation: Activation) -> list[float]:
    """One candidate's numbers, one for each label, as probabilities."""
    if activation == "sigmoid":
        return [_sigmoid(value) for value in values]
    if activation == "softmax":
        largest = max(values)
        shares = [math.exp(value - largest) for value in values]
        return [share / sum(shares) for share in shares]
    return [*values]


def _usual(labels: int) -> Activation:
    return "sigmoid" if labels < 2 else "softmax"


def _sigmoid(value: float) -> float:
    # The other form overflows for numbers far below zero.
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
