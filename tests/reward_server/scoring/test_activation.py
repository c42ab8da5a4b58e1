from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from reward_server.scoring.activation import activated, activation_of


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_labels": 1}, "sigmoid"),
        ({"num_labels": 3}, "softmax"),
        ({"num_labels": 1, "problem_type": "regression"}, "none"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "sigmoid"),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, "softmax"),
        (
            {
                "num_labels": 1,
                "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
            },
            "none",
        ),
        (
            {
                "num_labels": 1,
                "sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid",
            },
            "sigmoid",
        ),
    ],
)
def test_the_configuration_says_what_vllm_applies(config: dict[str, Any], expected: str) -> None:
    assert activation_of(SimpleNamespace(**config)) == expected


def test_probabilities() -> None:
    assert activated([0.0], "sigmoid") == [0.5]
    assert activated([2.0, 2.0], "softmax") == [0.5, 0.5]
    assert activated([1.5, -3.0], "none") == [1.5, -3.0]


@pytest.mark.parametrize("far", [-1e6, 1e6])
def test_no_number_is_too_large(far: float) -> None:
    assert activated([far], "sigmoid") == [float(far > 0)]
    assert activated([far, 0.0], "softmax") == [float(far > 0), float(far < 0)]
