"""What saves memory: gradients stay, and bfloat16 strays from float32 by a stated distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bon_gateway import demo_models
from tests.trainers.runtime.conftest import MakeSettings
from tests.trainers.runtime.helpers import START, distance, largest_difference, logs, weights
from tests.trainers.small import policy_path, reward_path
from trainers.base.errors import ModelError
from trainers.base.settings import LoraSettings
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.export.checks import TOLERANCE
from trainers.export.run import export
from trainers.export.settings import ExportSettings
from trainers.grpo.run import train_grpo
from trainers.grpo.settings import GrpoSettings
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.sft.padding_free import require_apart
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

STEPS = 50
STRAY = 0.05
"""How far weights trained in bfloat16 are from those trained in float32 after `STEPS` updates, as
a share of the way that these went."""
STRAY_LOSS = 0.005
"""The largest difference of a loss on the way, in nats."""
RUNS: dict[str, Any] = {
    "sft": (train_sft, SftSettings, "sft", {}),
    "sft with lora": (train_sft, SftSettings, "sft", {"lora": LoraSettings(r=4)}),
    "reward": (train_reward, RewardTrainSettings, "pairs", {}),
    "dpo": (train_dpo, DpoSettings, "pairs", {}),
    "grpo": (
        train_grpo,
        GrpoSettings,
        "prompts",
        {"reward": reward_path, "group_size": 2, "max_new_tokens": 8},
    ),
}


def run(name: str, world: Path, output: Path, **changes: Any) -> Path:
    """Train for a few steps; returns the output."""
    train, kind, data, own = RUNS[name]
    own = {key: value() if callable(value) else value for key, value in own.items()}
    values = {
        "model": policy_path(),
        "train": world / f"{data}.jsonl",
        "output": output,
        "batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "log_every": 1,
    }
    train(kind.model_validate(values | own | changes), START)
    return output


@pytest.mark.parametrize("name", RUNS)
def test_checkpointed_gradients_are_the_same(name: str, world: Path, tmp_path: Path) -> None:
    plain = run(name, world, tmp_path / "plain")
    checkpointed = run(name, world, tmp_path / "checkpointed", gradient_checkpointing=True)
    for one, other in zip(logs(plain), logs(checkpointed), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-6, abs=1e-6)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-6)
    if name != "reward":
        assert largest_difference(plain, checkpointed) < 1e-6
    # Checkpointed, the reward trainer computes its last layer for all tokens, else for those that
    # are read: another order of sums. Adam makes whole steps of the smallest gradients, so that the
    # rounding of a gradient near zero can be seen in its weight.
    assert distance(plain, checkpointed) < 1e-5 * distance(plain, policy_path())


@pytest.mark.parametrize("name", ["sft", "reward", "dpo", "grpo"])
def test_bfloat16_keeps_weights_in_float32(name: str, world: Path, tmp_path: Path) -> None:
    output = run(name, world, tmp_path / "out", dtype="bfloat16", gradient_checkpointing=True)
    trained, before = weights(output), weights(policy_path())
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}
    moved = [n for n, tensor in trained.items() if n in before and not tensor.equal(before[n])]
    # A step of 1e-3 would be lost in bfloat16's eight bits.
    assert moved
    assert any(not trained[n].equal(trained[n].bfloat16().float()) for n in moved)


@pytest.mark.parametrize("name", RUNS)
def test_what_bfloat16_trained_is_exported(name: str, world: Path, tmp_path: Path) -> None:
    """The record of what was trained is that of the float32 weights that are written."""
    output = run(name, world, tmp_path / "out", dtype="bfloat16", max_steps=1)
    settings = ExportSettings(model=str(output), output=tmp_path / "exported")
    assert max(export(settings, START).values()) <= TOLERANCE["float32"]


@pytest.mark.parametrize("name", ["sft", "reward"])
def test_bfloat16_strays_little_in_fifty_updates(name: str, world: Path, tmp_path: Path) -> None:
    how = {"max_steps": STEPS, "batch_size": 8}
    outputs = [
        run(name, world, tmp_path / dtype, dtype=dtype, **how) for dtype in ("float32", "bfloat16")
    ]
    start, exact, rough = map(weights, (policy_path(), *outputs))
    way = sum(float((exact[n] - start[n]).square().sum()) for n in exact if n in start)
    apart = sum(float((exact[n] - rough[n]).square().sum()) for n in exact if n in start)
    assert 0 < (apart / way) ** 0.5 < STRAY
    losses = [[entry["loss"] for entry in logs(output)] for output in outputs]
    assert max(abs(one - other) for one, other in zip(*losses, strict=True)) < STRAY_LOSS


def test_dpo_in_bfloat16_starts_where_policy_and_reference_agree(
    world: Path, tmp_path: Path
) -> None:
    output = run("dpo", world, tmp_path / "out", dtype="bfloat16", max_steps=1)
    assert logs(output)[0]["loss"] == pytest.approx(0.6931, abs=2e-2)


def test_conversations_end_to_end_give_the_same_gradients(settings: MakeSettings) -> None:
    runs = [settings(f"free-{free}", padding_free=free) for free in (False, True)]
    for one in runs:
        train_sft(one, START)
    for padded, free in zip(*(logs(one.output) for one in runs), strict=True):
        assert free["loss"] == pytest.approx(padded["loss"], rel=1e-5)
        assert free["grad_norm"] == pytest.approx(padded["grad_norm"], rel=1e-4)


def test_one_batch_end_to_end_gives_the_gradient_of_the_padded_one() -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    net: Any = AutoModelForCausalLM.from_pretrained(demo_models.policy_path())
    require_apart(net, "the demo policy")
    generator = torch.Generator().manual_seed(0)
    rows = []
    for length in (4, 30, 11):
        ids = torch.randint(5, 100, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [-100, -100, *ids[2:]]})
    found = []
    for free in (False, True):
        batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=free)(rows)
        net.zero_grad()
        net(**batch, use_cache=False).loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert found[0].abs().max() > 1e-2
    assert float((found[0] - found[1]).abs().max()) < 1e-6


def test_a_network_that_mixes_conversations_is_refused() -> None:
    config = AutoConfig.for_model(
        "bloom", vocab_size=64, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3
    )
    with pytest.raises(ModelError, match=r"padding_free: .*leave it off"):
        require_apart(AutoModelForCausalLM.from_config(config), "bloom")
