from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from bon_gateway import demo_models
from reward_server.network.model import RewardModel
from tests.trainers.reward.conftest import START, MakeSettings
from tests.trainers.runtime.helpers import largest_difference, logs
from tests.trainers.small import reward_path
from trainers.reward.data import prepare
from trainers.reward.run import train_reward
from trainers.reward.tasks import task_of
from trainers.reward.trainer import Collator, PreferenceTrainer

GOLDEN = [
    (0.672967, 2.17825),
    (0.726206, 1.91930),
    (0.735484, 1.65362),
    (0.647541, 0.99643),
    (0.720752, 1.07516),
    (0.680567, 0.57850),
    (0.625936, 0.80158),
    (0.680038, 0.56025),
]
"""Loss and gradient norm of each update."""


def rows_of(settings: Any) -> list[dict[str, Any]]:
    tokenizer = AutoTokenizer.from_pretrained(reward_path())
    return prepare(settings, task_of(settings), tokenizer).rows


def loss_of(trainer: Any, rows: list[dict[str, Any]]) -> tuple[float, torch.Tensor]:
    """The loss of one batch, and the gradient of the head."""
    batch = trainer.data_collator(rows)
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), trainer.model.score.weight.grad.clone()


@pytest.mark.parametrize("margin", [None, 0.7])
@pytest.mark.parametrize("center", [None, 0.05])
def test_parity_with_trls_own_loss(
    settings: MakeSettings, tmp_path: Path, margin: float | None, center: float | None
) -> None:
    ours = settings(train="margins", margin_weight=margin, center_rewards=center)
    rows = rows_of(ours)
    theirs = [
        {
            "chosen_ids": row["sequences"][0],
            "rejected_ids": row["sequences"][1],
            **row["targets"],
        }
        for row in rows
    ]
    losses = []
    options: dict[str, Any] = {
        "objective": task_of(ours).objective,
        "center": ours.center_rewards or 0.0,
        "weights": [1.0],
        "data_collator": Collator(0),
    }
    for kind, data, extra in ((RewardTrainer, theirs, {}), (PreferenceTrainer, rows, options)):
        trainer = kind(
            model=AutoModelForSequenceClassification.from_pretrained(reward_path()),
            args=RewardConfig(
                output_dir=str(tmp_path),
                bf16=False,
                gradient_checkpointing=False,
                max_length=None,
                center_rewards_coefficient=center,
                report_to="none",
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(reward_path()),
            **extra,
        )
        losses.append(loss_of(trainer, data))
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-6)
    torch.testing.assert_close(losses[1][1], losses[0][1], rtol=1e-4, atol=1e-6)
    assert losses[0][0] != pytest.approx(math.log(2), abs=1e-3)


def test_the_network_is_trained_on_what_is_served(settings: MakeSettings) -> None:
    """Through transformers' own pooling, which the trainer uses, and through the server's."""
    rows = rows_of(settings())[:6]
    net = AutoModelForSequenceClassification.from_pretrained(reward_path()).eval()
    batch = Collator(0)(rows)
    with torch.inference_mode():
        trained = net(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        served = RewardModel(net).logits([ids for row in rows for ids in row["sequences"]])
    torch.testing.assert_close(trained, served, rtol=0, atol=1e-5)
    assert trained.std() > 0.1


def test_padding_on_either_side_leaves_a_reward_alone(settings: MakeSettings) -> None:
    """In float64, where nothing but the padding can move it."""
    net = AutoModelForSequenceClassification.from_pretrained(reward_path()).double().eval()
    ids = torch.tensor([rows_of(settings())[0]["sequences"][0]])
    pads, real = torch.zeros(1, 7, dtype=torch.long), torch.ones_like(ids)
    places = torch.arange(ids.shape[1])[None]
    with torch.inference_mode():
        alone = net(ids, attention_mask=real).logits.item()
        right = net(torch.cat([ids, pads], 1), attention_mask=torch.cat([real, pads], 1))
        left = net(
            torch.cat([pads, ids], 1),
            attention_mask=torch.cat([pads, real], 1),
            position_ids=torch.cat([pads, places], 1),
        )
    assert abs(right.logits.item() - alone) < 1e-7
    assert abs(left.logits.item() - alone) < 1e-7


def test_a_golden_trajectory(settings: MakeSettings) -> None:
    """Losses and gradient norms of 8 updates, as they were when this was written."""
    run = settings(center_rewards=0.01, model=demo_models.policy_path())
    train_reward(run, START)
    found = [(entry["loss"], entry["grad_norm"]) for entry in logs(run.output)]
    assert len(found) == 8
    for (loss, norm), (golden_loss, golden_norm) in zip(found, GOLDEN, strict=True):
        assert loss == pytest.approx(golden_loss, rel=1e-3)
        assert norm == pytest.approx(golden_norm, rel=1e-2)


@pytest.mark.parametrize(
    ("train", "changes"),
    [
        ("pairs", {"center_rewards": 0.01}),
        ("rankings", {"objective": "listwise"}),
        ("dimensions", {"dimensions": {"helpful": 1.0, "short": 0.5}}),
    ],
)
def test_eight_passes_of_one_equal_one_of_eight(
    settings: MakeSettings, train: str, changes: dict[str, Any]
) -> None:
    whole = settings("whole", train, **changes)
    parts = settings("parts", train, accumulate=8, **changes)
    for run in (whole, parts):
        train_reward(run, START)
    for one, other in zip(logs(whole.output), logs(parts.output), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=2e-3)
    assert largest_difference(whole.output, parts.output) < 1e-4
