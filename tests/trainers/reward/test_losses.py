from __future__ import annotations

import itertools
import math

import pytest
import torch

from trainers.reward.losses import (
    all_pairs,
    bradley_terry,
    centring,
    plackett_luce,
    signed_preferences,
    squared_error,
)
from trainers.reward.objectives import Outputs, batch_loss, dimension_ranking_losses, pair_losses

DOUBLE = torch.float64


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def here(rewards: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(rewards, dtype=torch.bool)


@pytest.mark.parametrize(
    ("difference", "loss"), [(0.0, math.log(2)), (1.0, 0.313262), (-400.0, 400.0)]
)
def test_bradley_terry_of_a_difference(difference: float, loss: float) -> None:
    assert bradley_terry(tensor(difference), tensor(0.0)).item() == pytest.approx(loss, abs=5e-7)


def test_bradley_terry_knows_differences_alone() -> None:
    chosen, rejected = tensor(1.0, -2.0, 0.5), tensor(0.25, 3.0, 0.5)
    shifted = bradley_terry(chosen + 8.0, rejected + 8.0)
    assert torch.equal(shifted, bradley_terry(chosen, rejected))


def test_bradley_terry_is_finite_in_float32_with_its_gradient() -> None:
    chosen = torch.tensor([-400.0], requires_grad=True)
    loss = bradley_terry(chosen, torch.tensor([0.0])).sum()
    loss.backward()
    assert loss.item() == 400.0
    assert chosen.grad is not None
    assert chosen.grad.item() == -1.0


def test_the_gradient_is_minus_the_probability_of_being_wrong_over_n() -> None:
    chosen = tensor(0.3, -1.2, 2.0).requires_grad_()
    rejected = tensor(1.0, 0.4, -0.5).requires_grad_()
    bradley_terry(chosen, rejected).mean().backward()
    wrong = torch.sigmoid(rejected - chosen).detach() / 3
    torch.testing.assert_close(chosen.grad, -wrong)
    torch.testing.assert_close(rejected.grad, wrong)


def test_a_margin_moves_the_point_of_ln_2() -> None:
    loss = bradley_terry(tensor(2.5, 1.0), tensor(0.0, 1.0), tensor(2.5, 0.0))
    torch.testing.assert_close(loss, tensor(math.log(2), math.log(2)))


def test_centring_of_a_pair() -> None:
    rewards = tensor(2.0, -1.0)[None]
    outputs = Outputs(rewards[:, :, None], rewards, here(rewards))
    loss, _ = batch_loss(pair_losses, outputs, {}, center=0.01)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-3)) + 0.01, abs=1e-12)


def test_centring_leaves_out_what_is_missing() -> None:
    rewards = tensor(3.0, 1.0, 99.0)[None]
    present = torch.tensor([[True, True, False]])
    assert centring(rewards, present).item() == 16.0


def probability(order: tuple[float, ...]) -> float:
    """P of an order, drawn one after another."""
    left = [math.exp(reward) for reward in order]
    return math.prod(left[i] / sum(left[i:]) for i in range(len(left)))


def test_plackett_luce_equals_drawing_one_after_another() -> None:
    rewards = (0.7, -1.1, 2.0, 0.1)
    orders = list(itertools.permutations(rewards))
    losses = plackett_luce(torch.tensor(orders, dtype=DOUBLE), here(torch.ones(24, 4)))
    expected = [-math.log(probability(order)) for order in orders]
    torch.testing.assert_close(losses, tensor(*expected))
    assert (-losses).exp().sum().item() == pytest.approx(1.0, abs=1e-12)


def test_plackett_luce_of_two_is_bradley_terry() -> None:
    chosen, rejected = tensor(1.0, -2.0), tensor(0.5, 3.0)
    rewards = torch.stack([chosen, rejected], 1)
    losses = plackett_luce(rewards, here(rewards))
    torch.testing.assert_close(losses, bradley_terry(chosen, rejected))


def test_plackett_luce_ignores_what_is_missing() -> None:
    short = tensor(0.4, -0.3)[None]
    long = tensor(0.4, -0.3, 123.0, -5.0)[None].requires_grad_()
    present = torch.tensor([[True, True, False, False]])
    loss = plackett_luce(long, present)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), plackett_luce(short, here(short)))
    assert long.grad is not None
    assert long.grad.isfinite().all()
    assert torch.equal(long.grad[0, 2:], tensor(0.0, 0.0))
    assert long.grad[0, 0] < 0


def test_all_pairs_is_the_mean_over_pairs_that_differ() -> None:
    rewards = tensor(0.7, -1.1, 2.0)[None]
    values = tensor(3.0, 3.0, 1.0)[None]
    expected = (
        bradley_terry(tensor(0.7), tensor(2.0)) + bradley_terry(tensor(-1.1), tensor(2.0))
    ) / 2
    torch.testing.assert_close(all_pairs(rewards, values, here(rewards)), expected)
    missing = torch.tensor([[True, False, True]])
    torch.testing.assert_close(
        all_pairs(rewards, values, missing), bradley_terry(tensor(0.7), tensor(2.0))
    )


def test_a_dimension_without_a_label_has_no_gradient() -> None:
    difference = tensor(0.5, 2.0, -1.0)[None].requires_grad_()
    loss = signed_preferences(difference, tensor(1.0, 0.0, -1.0)[None])
    loss.sum().backward()
    expected = (
        bradley_terry(tensor(0.5), tensor(0.0)) + bradley_terry(tensor(1.0), tensor(0.0))
    ) / 2
    torch.testing.assert_close(loss.detach(), expected)
    assert difference.grad is not None
    assert difference.grad[0, 1] == 0
    assert difference.grad[0, 0] < 0 < difference.grad[0, 2]


def test_lists_are_ordered_anew_in_each_dimension() -> None:
    """Each dimension's loss is that of its own list; what is missing has no part in it."""
    labels = torch.tensor([[[0.7, 0.2], [-1.1, 1.5], [2.0, -0.3], [9.0, 9.0]]], dtype=DOUBLE)
    values = torch.tensor([[[3.0, 1.0], [1.0, 2.0], [2.0, 3.0], [0.0, 0.0]]], dtype=DOUBLE)
    present = torch.tensor([[True, True, True, False]])
    outputs = Outputs(labels, labels.sum(2), present)
    sorted_lists = (tensor(0.7, 2.0, -1.1)[None], tensor(-0.3, 1.5, 0.2)[None])
    listwise = [plackett_luce(one, here(one)) / 2 for one in sorted_lists]
    found, _ = dimension_ranking_losses(outputs, {"values": values}, strict=True)
    torch.testing.assert_close(found.mean(), torch.stack(listwise).mean())
    tied = [all_pairs(one, tensor(3.0, 2.0, 1.0)[None], here(one)) for one in sorted_lists]
    found, metrics = dimension_ranking_losses(outputs, {"values": values}, strict=False)
    torch.testing.assert_close(found.mean(), torch.stack(tied).mean())
    assert metrics["accuracy"].item() == pytest.approx(3 / 6)


def test_squared_error() -> None:
    found = squared_error(tensor(1.0, 3.0)[None], tensor(0.0, 1.0)[None])
    assert found.item() == 2.5
