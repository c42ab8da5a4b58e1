"""Generalised advantage estimation, by hand and against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.ppo.advantages import gae

ALL = torch.ones(1, 3, dtype=torch.bool)
REWARDS = torch.tensor([[0.0, 0.0, 1.0]])
VALUES = torch.tensor([[0.5, 0.6, 0.7]])


def test_by_hand() -> None:
    advantages, returns = gae(REWARDS, VALUES, ALL, gamma=1.0, lam=0.95)
    torch.testing.assert_close(advantages, torch.tensor([[0.46575, 0.385, 0.3]]))
    torch.testing.assert_close(returns, advantages + VALUES)


def test_lambda_1_makes_the_returns_the_sums_of_rewards() -> None:
    _, returns = gae(REWARDS, VALUES, ALL, gamma=1.0, lam=1.0)
    torch.testing.assert_close(returns, torch.ones(1, 3))


def test_lambda_0_looks_one_token_ahead() -> None:
    advantages, _ = gae(REWARDS, VALUES, ALL, gamma=0.5, lam=0.0)
    expected = torch.tensor([[0.5 * 0.6 - 0.5, 0.5 * 0.7 - 0.6, 1 - 0.7]])
    torch.testing.assert_close(advantages, expected)


@pytest.mark.parametrize("garbage", [float("nan"), 1e30, -7.0])
def test_garbage_in_the_padding_changes_nothing(garbage: float) -> None:
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])

    def padded(row: Tensor) -> Tensor:
        values = torch.randn(2, 5, generator=torch.Generator().manual_seed(3))
        values[0, :3], values[0, 3:] = row[0], garbage
        return values

    advantages, returns = gae(padded(REWARDS), padded(VALUES), mask, 1.0, 0.95)
    alone, alone_returns = gae(REWARDS, VALUES, ALL, 1.0, 0.95)
    assert torch.equal(advantages[:1, :3], alone)
    assert torch.equal(returns[:1, :3], alone_returns)
    assert torch.equal(advantages[0, 3:], torch.zeros(2))
    assert torch.equal(returns[0, 3:], torch.zeros(2))


def test_it_is_the_discounted_sum_of_errors() -> None:
    random = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 4, 7, generator=random)
    gamma, lam = 0.9, 0.8
    following = torch.cat([values[:, 1:], torch.zeros(4, 1)], dim=1)
    errors = rewards + gamma * following - values
    expected = torch.stack(
        [sum((gamma * lam) ** (u - t) * errors[:, u] for u in range(t, 7)) for t in range(7)],
        dim=1,
    )
    advantages, _ = gae(rewards, values, torch.ones(4, 7, dtype=torch.bool), gamma, lam)
    torch.testing.assert_close(advantages, expected)
