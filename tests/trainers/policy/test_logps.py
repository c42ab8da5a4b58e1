"""Token log-probs and entropy against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.policy.logps import token_entropy, token_logps


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 6, 11, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 11, (3, 6), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_they_are_the_negative_cross_entropy(
    logits: Tensor, ids: Tensor, temperature: float
) -> None:
    shifted = logits[:, :-1] / temperature
    expected = -F.cross_entropy(shifted.transpose(1, 2), ids[:, 1:], reduction="none")
    torch.testing.assert_close(token_logps(logits[:, :-1], ids[:, 1:], temperature), expected)


def test_probabilities_over_the_vocabulary_sum_to_one(logits: Tensor) -> None:
    every = torch.arange(11).expand(3, 6, 11)
    repeated = logits.unsqueeze(-2).expand(3, 6, 11, 11)
    total = token_logps(repeated, every, 0.5).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones(3, 6))


def test_entropy_is_that_of_the_tempered_distribution(logits: Tensor) -> None:
    expected = torch.distributions.Categorical(logits=logits / 0.7).entropy()
    torch.testing.assert_close(token_entropy(logits, 0.7), expected)


def test_entropy_of_equal_logits_is_the_log_of_the_vocabulary() -> None:
    assert float(token_entropy(torch.zeros(1, 8))) == pytest.approx(math.log(8))


def test_low_precision_logits_are_measured_in_float32(logits: Tensor, ids: Tensor) -> None:
    assert token_logps(logits.bfloat16(), ids).dtype == torch.float32
    expected = token_logps(logits.bfloat16().float(), ids)
    assert torch.equal(token_logps(logits.bfloat16(), ids), expected)
