"""One iteration's update: its first step, its gradient however it is cut, its early end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.base.errors import RunError
from trainers.ppo.models import PpoParts, build
from trainers.ppo.rollout import Rollouts
from trainers.ppo.settings import PpoSettings
from trainers.ppo.train import iterate
from trainers.ppo.update import rate_factor

TEMPERATURE = 0.7


def parts_and_rollouts(
    values: dict[str, Any], **changes: Any
) -> tuple[PpoSettings, PpoParts, Rollouts]:
    sampling = {"max_new_tokens": 6, "temperature": TEMPERATURE}
    settings = PpoSettings.model_validate(values | {"sampling": sampling} | changes)
    parts = build(settings)
    prompts = parts.prompts.prompts * 2
    return settings, parts, parts.collector.collect(prompts, seed=5, beta=0.1)


def gradient(parts: PpoParts, rollouts: Rollouts, rows: Tensor) -> tuple[Tensor, dict[str, float]]:
    figures = parts.updater._gradient(rollouts, rows)
    models = (parts.policy, parts.value)
    grads = [p.grad.flatten() for m in models for p in m.parameters() if p.grad is not None]
    return torch.cat(grads).clone(), figures


def update_of(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"update": {**values["update"], **changes}}


def test_before_the_first_step_the_ratio_is_1(values: dict[str, Any]) -> None:
    _, parts, rollouts = parts_and_rollouts(values)
    logps = parts.collector.policy_logps(rollouts.sequences)
    mask = rollouts.sequences.answer_mask
    assert ((logps - rollouts.logps).exp() - 1)[mask].abs().max() <= 1e-6
    for rows in torch.arange(8).split(3):  # in other company than in the rollout
        figures = parts.updater._gradient(rollouts, rows)
        assert figures["ratio"] == pytest.approx(1, abs=1e-6)
        assert figures["clip fraction"] == 0
        assert figures["kl to old policy, per token"] == pytest.approx(0, abs=1e-9)


def test_the_gradient_is_the_same_however_the_minibatch_is_cut(values: dict[str, Any]) -> None:
    gradients = []
    _, _, rollouts = parts_and_rollouts(values)
    for size in (8, 3, 1):
        changes = update_of(values, micro_batch_size=size, max_grad_norm=1e9)
        parts = build(PpoSettings.model_validate(values | changes))
        parts.policy.double()
        parts.value.double()
        gradients.append(gradient(parts, rollouts, torch.arange(8))[0])
    assert gradients[0].abs().max() > 0.01
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=0, atol=1e-7)


def test_it_is_divided_by_the_tokens_of_the_whole_minibatch(values: dict[str, Any]) -> None:
    """A mean of the parts' means would weigh the tokens of short answers more."""
    _, parts, rollouts = parts_and_rollouts(values, **update_of(values, max_grad_norm=1e9))
    mask = rollouts.sequences.answer_mask
    assert len(set(mask.sum(-1).tolist())) > 1
    tokens = mask.sum()
    whole, _ = gradient(parts, rollouts, torch.arange(8))
    parts.updater.optimizer.zero_grad()
    pieces = torch.zeros_like(whole)
    for row in range(8):
        alone, _ = gradient(parts, rollouts, torch.tensor([row]))
        pieces += alone * (mask[row].sum() / tokens)
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-6)


def test_the_terms_of_the_loss_add_up_with_their_weights(values: dict[str, Any]) -> None:
    rows = torch.arange(8)

    def loss(**changes: Any) -> float:
        _, parts, rollouts = parts_and_rollouts(values, **changes)
        moved = parts.policy.get_input_embeddings().weight
        with torch.no_grad():  # away from the old policy, so that each term is there
            moved += 0.1 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(1))
        return float(parts.updater.token_sums(rollouts, rows)[0].detach())

    plain = loss(kl={"beta": 0.1})
    assert loss(kl={"beta": 0.1, "loss_weight": 1.0}) > plain + 1e-3
    assert loss(kl={"beta": 0.1, "old_weight": 1.0}) > plain + 1e-3
    assert loss(**update_of(values, entropy_bonus=1.0)) < plain - 1
    assert loss(value={"loss_weight": 2.0}) > plain + 1e-3


def test_gradients_are_limited_each_on_its_own(values: dict[str, Any]) -> None:
    _, parts, rollouts = parts_and_rollouts(values, **update_of(values, max_grad_norm=0.01))
    parts.updater._gradient(rollouts, torch.arange(8))
    for model in (parts.policy, parts.value):
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        assert float(torch.stack(norms).norm()) == pytest.approx(0.01, rel=1e-3)


def test_it_ends_early_when_the_policy_has_moved_too_far(values: dict[str, Any]) -> None:
    changes = update_of(values, stop_kl=1e-4, epochs=50, learning_rate=3e-3)
    _, parts, rollouts = parts_and_rollouts(values, **changes)
    figures = parts.updater.update(rollouts, 0)
    assert figures["stopped early"] == 1
    assert 1 <= figures["steps"] < 20


def test_it_makes_a_step_for_each_minibatch_of_each_epoch(values: dict[str, Any]) -> None:
    _, parts, rollouts = parts_and_rollouts(values)
    figures = parts.updater.update(rollouts, 0)
    assert (figures["steps"], figures["stopped early"]) == (4, 0)


def test_a_loss_that_is_no_number_names_the_iteration(values: dict[str, Any]) -> None:
    settings, parts, rollouts = parts_and_rollouts(values)
    rollouts.advantages[0, 0] = float("nan")
    before = [p.clone() for p in parts.policy.parameters()]
    with pytest.raises(RunError, match=r"^iteration 4: the policy loss is nan; .*learning_rate"):
        parts.updater.update(rollouts, 3)
    whole = all(torch.isfinite(p).all() for p in parts.policy.parameters())
    assert whole
    assert any(torch.equal(a, b) for a, b in zip(before, parts.policy.parameters(), strict=True))
    del settings


@pytest.mark.parametrize(
    ("iteration", "warmup", "decay", "factor"),
    [
        (0, 0, "linear", 1.0),
        (5, 0, "linear", 0.5),
        (9, 0, "linear", 0.1),
        (9, 0, "constant", 1.0),
        (0, 3, "constant", 0.25),
        (2, 3, "constant", 0.75),
        (3, 3, "constant", 1.0),
    ],
)
def test_the_learning_rate(
    values: dict[str, Any], iteration: int, warmup: int, decay: str, factor: float
) -> None:
    update = update_of(values, warmup_iterations=warmup, decay=decay)
    settings = PpoSettings.model_validate(values | {"iterations": 10} | update)
    assert rate_factor(settings, iteration) == pytest.approx(factor)


def test_an_iteration_reports_both_kls_by_their_names(settings: PpoSettings) -> None:
    parts = build(settings)
    first, _ = iterate(parts, settings, 0, beta=0.1)
    second, _ = iterate(parts, settings, 1, beta=0.1)
    assert first["kl to reference"] == pytest.approx(0, abs=1e-5)
    assert first["kl to old policy"] > 1e-4
    assert abs(second["kl to reference"]) > 1e-4
    assert all(math.isfinite(value) for value in second.values())


GOLDEN = [(0.631520, 3.27625), (0.867197, 4.38901), (0.965186, 4.18847), (0.626652, 3.81123)]
"""Loss and gradient norm of the policy, as they were when this was written; each is the mean of an
iteration's two steps."""


def test_8_steps_go_the_golden_way_whatever_the_micro_batch(values: dict[str, Any]) -> None:
    def trajectory(size: int) -> list[list[float]]:
        update = update_of(values, micro_batch_size=size, minibatch_size=8)
        settings = PpoSettings.model_validate(values | {"iterations": 4} | update)
        parts = build(settings)
        parts.policy.double()  # Adam would blow rounding errors up to whole steps
        parts.value.double()
        names = ("loss", "policy loss", "value loss", "policy gradient norm", "kl to reference")
        figures = [iterate(parts, settings, i, beta=0.1)[0] for i in range(4)]
        return [[entry[name] for name in names] for entry in figures]

    whole, single = torch.tensor(trajectory(8)), torch.tensor(trajectory(1))
    torch.testing.assert_close(single, whole, rtol=1e-4, atol=1e-6)
    assert len({tuple(row) for row in whole.tolist()}) == 4
    found = [(row[0], row[3]) for row in whole.tolist()]
    assert found == [pytest.approx(golden, rel=1e-3) for golden in GOLDEN]


def test_a_recomputed_gradient_is_the_kept_one(values: dict[str, Any]) -> None:
    gradients = []
    _, _, rollouts = parts_and_rollouts(values)
    for recompute in (False, True):
        changes = update_of(values, gradient_checkpointing=recompute, max_grad_norm=1e9)
        parts = build(PpoSettings.model_validate(values | changes))
        gradients.append(gradient(parts, rollouts, torch.arange(8))[0])
        assert not parts.policy.training
        assert not parts.value.training
    assert gradients[0].abs().max() > 0.01
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-6)


def test_only_what_enters_a_layer_is_kept(values: dict[str, Any]) -> None:
    calls = []
    changes = update_of(values, gradient_checkpointing=True)
    _, parts, rollouts = parts_and_rollouts(values, **changes)
    layer = parts.policy.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    gradient(parts, rollouts, torch.arange(4))
    assert len(calls) == 2, "once in the forward and once in the backward pass"
