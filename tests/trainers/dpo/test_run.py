from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bon_gateway import demo_models
from tests.trainers.dpo.conftest import MakeSettings
from tests.trainers.runtime.helpers import (
    RESUME,
    START,
    assert_equal_weights,
    largest_difference,
    logs,
    weights,
)
from tests.trainers.small import policy_path
from trainers.base.context import RunContext
from trainers.base.data import data_hash, write_records
from trainers.base.errors import RunError, SettingsError
from trainers.base.loading import load_tokenizer
from trainers.dpo.data import read_pairs
from trainers.dpo.reference import reference_logps
from trainers.dpo.run import NEGATIVE_REWARD_NOTE, train_dpo
from trainers.policy.frozen import load_frozen

GOLDEN_LOSSES = (0.693147, 0.739032, 0.675656, 0.515720, 0.563890, 0.509673, 0.448742, 0.523004)
GOLDEN_NORMS = (0.91481, 1.37460, 1.15783, 0.87363, 0.94331, 0.80331, 0.65408, 5.06962)
"""Of the demo policy on the 24 pairs of the fixture, as they were when this was written."""


def test_golden_trajectory_in_one_pass_and_in_eight(settings: MakeSettings) -> None:
    how = {"model": demo_models.policy_path(), "batch_size": 8, "max_steps": 8}
    whole = settings("whole", **how)
    parts = settings("parts", **how, accumulate=8)
    for one in (whole, parts):
        train_dpo(one, START)
        assert [entry["loss"] for entry in logs(one.output)] == pytest.approx(
            GOLDEN_LOSSES, rel=1e-3
        )
        assert [entry["grad_norm"] for entry in logs(one.output)] == pytest.approx(
            GOLDEN_NORMS, rel=1e-2
        )
    assert largest_difference(whole.output, parts.output) < 1e-4
    assert GOLDEN_LOSSES[0] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("every", "changes"),
    [
        pytest.param(5, {}, id="within the first epoch"),
        pytest.param(
            8,
            {"lora": {"r": 4, "dropout": 0.2}, "reference_logps": "live"},
            id="in the second epoch, an adapter and the reference without it",
        ),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_cut(
    settings: MakeSettings, every: int, changes: dict[str, object]
) -> None:
    whole = settings("whole", save_every=every, **changes)
    train_dpo(whole, START)
    cut = settings("cut", save_every=every, **changes)
    shutil.copytree(whole.output, cut.output)
    shutil.rmtree(cut.output / "checkpoints" / "checkpoint-10", ignore_errors=True)
    (cut.output / "model.safetensors").unlink()
    train_dpo(cut, RESUME)
    assert_equal_weights(whole.output, cut.output)
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 11))


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_the_reference_of_each_step_is_that_of_before(
    settings: MakeSettings, lora: dict[str, int] | None
) -> None:
    before = settings("precompute", lora=lora, max_steps=4)
    live = settings("live", lora=lora, max_steps=4, reference_logps="live")
    for one in (before, live):
        train_dpo(one, START)
    assert not (live.output / "reference-logps").exists()
    assert largest_difference(before.output, live.output) < 1e-4
    assert logs(live.output)[-1]["rewards/margins"] != 0


@pytest.mark.parametrize(
    ("loss", "smoothing", "at_the_reference"),
    [
        ("sigmoid", 0.0, math.log(2)),
        ("ipo", 0.0, 25.0),
        ("hinge", 0.0, 1.0),
        ("robust", 0.1, math.log(2)),
        ("exo_pair", 0.1, math.log(0.5) - (math.log(0.9) + math.log(0.1)) / 2),
        ("apo_zero", 0.0, 1.0),
        ("sppo_hard", 0.0, 50.0),
    ],
)
def test_losses_begin_at_their_value_for_equal_policies(
    settings: MakeSettings, loss: str, smoothing: float, at_the_reference: float
) -> None:
    one = settings(loss=loss, label_smoothing=smoothing, max_steps=2)
    assert train_dpo(one, START)["updates"] == 2
    first, second = logs(one.output)
    assert first["loss"] == pytest.approx(at_the_reference, rel=1e-5)
    assert second["loss"] != first["loss"]


def test_the_sft_term_adds_the_mean_over_the_preferred_tokens(settings: MakeSettings) -> None:
    one = settings(sft_weight=0.5, batch_size=24, max_steps=1)
    train_dpo(one, START)
    rows = read_pairs(one.train, load_tokenizer(one.model), one.model, 512).rows
    logps = reference_logps(load_frozen(one.model), rows, 24).chosen
    tokens = sum(len(row["chosen_ids"]) for row in rows)
    expected = math.log(2) - 0.5 * sum(logps) / tokens
    assert logs(one.output)[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_sft_first_is_where_dpo_starts_and_its_reference(settings: MakeSettings) -> None:
    one = settings(max_steps=2, sft_first={"epochs": 1, "learning_rate": 1e-3})
    train_dpo(one, START)
    tuned = one.output / "sft-first"
    first = logs(one.output)[0]
    # At the first step policy and reference are equal, and both are the fine-tuned model.
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    start = AutoModelForCausalLM.from_pretrained(policy_path())
    assert not torch.equal(
        weights(tuned)["model.norm.weight"], start.get_parameter("model.norm.weight")
    )
    preferred = [json.loads(line) for line in (tuned / "preferred.jsonl").read_text().splitlines()]
    pair = json.loads(one.train.read_text().splitlines()[0])
    assert preferred[0] == {"messages": pair["prompt"] + pair["chosen"]}
    assert "loss" in logs(tuned)[0]


def test_sft_first_is_done_once_and_only_with_the_same_settings(settings: MakeSettings) -> None:
    first = {"epochs": 1, "learning_rate": 1e-3}
    one = settings(max_steps=2, sft_first=first)
    train_dpo(one, START)
    before = (one.output / "sft-first" / "model.safetensors").stat().st_mtime_ns
    train_dpo(one, RESUME)
    assert (one.output / "sft-first" / "model.safetensors").stat().st_mtime_ns == before
    other = settings(max_steps=2, sft_first=first | {"learning_rate": 2e-3})
    with pytest.raises(SettingsError, match=r"learning_rate: 0\.002 cannot resume .*sft-first"):
        train_dpo(other, RESUME)


def test_what_is_written_and_measured(settings: MakeSettings, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    pair = json.loads(settings().train.read_text().splitlines()[0])
    write_records(prompts, [{"prompt": pair["prompt"]}] * 6)
    one = settings(max_steps=6, eval_prompts=prompts, eval_max_new_tokens=32)
    figures = train_dpo(one, START)
    assert figures["KL to the reference (nats an answer)"] != 0
    assert 0 < figures["mean tokens an answer"] <= 32
    card = (one.output / "README.md").read_text()
    assert NEGATIVE_REWARD_NOTE in card
    assert data_hash(one.train) in card
    assert "| pairs dropped as too long | 0 |" in card
    assert list((one.output / "tensorboard").iterdir())


def test_the_policy_learns_its_pairs(settings: MakeSettings) -> None:
    one = settings(max_steps=15, batch_size=8)
    train_dpo(one, START)
    first, last = logs(one.output)[0], logs(one.output)[-3:]
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert sum(entry["rewards/margins"] for entry in last) / 3 > 0.5
    assert sum(entry["rewards/accuracies"] for entry in last) / 3 > 0.8


def test_dry_run_shows_both_sides_and_writes_nothing(settings: MakeSettings) -> None:
    shown: list[str] = []
    one = settings()
    assert train_dpo(one, RunContext("bon-train dpo", dry_run=True, show=shown.append)) == {}
    text = "\n".join(shown)
    pair = json.loads(one.train.read_text().splitlines()[0])
    assert f"{pair['prompt'][-1]['content']}<eos><|assistant|>" in text
    assert f"chosen:   {pair['chosen'][0]['content']}<eos>" in text
    assert f"rejected: {pair['rejected'][0]['content']}<eos>" in text
    assert "pairs: 24, pairs dropped as too long: 0" in text
    assert not one.output.exists()


def test_a_loss_that_is_no_number_ends_the_run(settings: MakeSettings) -> None:
    with pytest.raises(RunError, match=r"step \d+: the (loss|gradient norm) is"):
        train_dpo(settings(learning_rate=1e30), START)
    assert not (settings().output / "model.safetensors").exists()
