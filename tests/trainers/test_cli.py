"""The commands end to end, on a demo world that is small enough to train in seconds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from trainers.base.data import Pair, data_hash, read_records
from trainers.cli import main
from trainers.commands import COMMANDS
from trainers.demo.model import save_untrained_policy
from trainers.demo.tokenizer import build_tokenizer

TINY = {
    "world.train_prompts": 60,
    "world.held_out_prompts": 4,
    "world.sft_records": 64,
    "world.pairs": 64,
    "world.held_out_pairs": 30,
    "sft.max_steps": 3,
    "sft.batch_size": 8,
    "sft.log_every": 1,
    "reward.max_steps": 3,
    "reward.batch_size": 8,
    "reward.log_every": 1,
    "evaluate.samples": 4,
    "evaluate.n_values": "[1, 4]",
    "evaluate.max_new_tokens": 8,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    overrides = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    assert main(["demo", "--output", str(root), *overrides]) == 0
    return root


def config(demo: Path, kind: str, folder: Path, **changes: object) -> Path:
    model = {"sft": "untrained", "reward": "policy"}[kind]
    data = {"sft": "sft.jsonl", "reward": "pairs.jsonl"}[kind]
    values = {
        "model": str(demo / model),
        "train": str(demo / "data" / data),
        "output": str(folder / "out"),
        "max_steps": 3,
        "batch_size": 8,
        "log_every": 1,
    }
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
    return path


def logs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_demo_writes_models_that_load(demo: Path) -> None:
    policy = AutoModelForCausalLM.from_pretrained(demo / "policy")
    reward = AutoModelForSequenceClassification.from_pretrained(demo / "reward")
    tokenizer = AutoTokenizer.from_pretrained(demo / "reward")
    assert policy.dtype == reward.dtype == torch.float32
    assert reward.config.num_labels == 1
    assert reward.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    generation = policy.generation_config
    assert (generation.temperature, generation.top_k, generation.top_p) == (1.0, 0, None)
    weights = demo / "reward" / "model.safetensors"
    assert weights.stat().st_mode & 0o044 == 0o044


def test_training_changed_the_weights(demo: Path) -> None:
    before, after = (
        load_file(demo / name / "model.safetensors") for name in ("untrained", "policy")
    )
    assert all(not torch.equal(before[name], after[name]) for name in before)
    reward = load_file(demo / "reward" / "model.safetensors")
    assert not torch.equal(after["model.norm.weight"], reward["model.norm.weight"])


def test_demo_writes_figures_and_cards(demo: Path) -> None:
    figures = json.loads((demo / "figures.json").read_text())
    assert set(figures["best_of_n"]) == {"1", "4"}
    assert (figures["pairs"], figures["prompts"], figures["samples"]) == (30, 4, 4)
    card = (demo / "reward" / "README.md").read_text()
    assert data_hash(demo / "data" / "pairs.jsonl") in card
    assert "bon-train demo" in card
    assert f"| reward model accuracy | {figures['accuracy']:.4g} |" in card


def test_the_first_reward_losses_are_near_ln_2(demo: Path) -> None:
    steps = [log for log in logs(demo / "reward") if "loss" in log]
    assert [log["step"] for log in steps] == [1, 2, 3]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=0.1)


def test_sft_learns_from_its_file(demo: Path, tmp_path: Path) -> None:
    path = config(demo, "sft", tmp_path, learning_rate=0.003, max_steps=12)
    assert main(["sft", "--config", str(path)]) == 0
    losses = [log["loss"] for log in logs(tmp_path / "out") if "loss" in log]
    assert losses[-1] < losses[0] - 0.5


def test_the_seed_decides_the_weights(demo: Path, tmp_path: Path) -> None:
    trained = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folder = tmp_path / name
        folder.mkdir()
        arguments = ["--config", str(config(demo, "sft", folder)), "--set", f"seed={seed}"]
        assert main(["sft", *arguments]) == 0
        trained.append(load_file(folder / "out" / "model.safetensors")["model.norm.weight"])
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_sft_dry_run_shows_what_is_learnt(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sft", "--config", str(config(demo, "sft", tmp_path)), "--dry-run"]) == 0
    text, learnt, _, counts = capsys.readouterr().out.splitlines()
    answer = learnt.removeprefix("learnt: ")
    assert text.endswith(f"<|assistant|>{answer}")
    assert answer.endswith("<eos>")
    assert counts == "conversations: 64, dropped as too long: 0"
    assert not (tmp_path / "out").exists()


def test_reward_dry_run_shows_both_sides_and_counts_drops(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = pair_lengths(demo)
    limit = sorted(lengths)[40]
    kept = sum(length <= limit for length in lengths)
    path = config(demo, "reward", tmp_path, max_length=limit)
    assert main(["reward", "--config", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "chosen: <|" in out
    assert "reward read at: '<eos>'" in out
    assert 0 < kept < 64
    assert f"pairs: {kept}, dropped as too long: {64 - kept}" in out


def pair_lengths(demo: Path) -> list[int]:
    tokenizer: Any = AutoTokenizer.from_pretrained(demo / "policy")
    texts = [
        [
            tokenizer.apply_chat_template(pair.prompt + side, tokenize=False)
            for side in (pair.chosen, pair.rejected)
        ]
        for pair in read_records(Pair, demo / "data" / "pairs.jsonl")
    ]
    return [max(len(tokenizer(text)["input_ids"]) for text in both) for both in texts]


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("sft", "train"),
        ("reward", "eval_pairs"),
        ("dpo", "eval_prompts"),
        ("ppo", "prompts"),
        ("iterate", "prompts"),
        ("evaluate", "pairs"),
    ],
)
def test_a_missing_file_is_found_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, key: str
) -> None:
    known = COMMANDS[command].settings.model_fields
    named = {name: "nowhere" for name in ("model", "reward", "train", "prompts") if name in known}
    given = (tmp_path / "there.jsonl").resolve()
    given.touch()
    values = named | {one: str(given) for one in ("train", "prompts") if one in named}
    path = tmp_path / f"{command}.yaml"
    for gone, reason in (
        ("gone.jsonl", "No such file or directory"),
        ("x" * 300, "File name too long"),
    ):
        path.write_text(yaml.safe_dump(values | {"output": "out", key: gone}))
        assert main([command, "--config", str(path)]) == 2
        assert capsys.readouterr().err == f"bon-train: {key}: {gone}: {reason}\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochz": 1}, "reward.yaml: epochz: unknown key; did you mean 'epochs'?"),
        ({"model": "nowhere"}, "nowhere: no such model folder"),
        ({"train": "nothing.jsonl"}, "nothing.jsonl: No such file or directory"),
        ({"max_length": 3}, "every record exceeds max_length 3"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    assert main(["reward", "--config", str(config(demo, "reward", tmp_path, **changes))]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("bon-train: ")
    assert message in error


def test_pad_equal_to_end_of_turn_is_refused(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = build_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    save_untrained_policy(tokenizer, tmp_path / "model", seed=0)
    path = config(demo, "reward", tmp_path, model=str(tmp_path / "model"))
    assert main(["reward", "--config", str(path)]) == 2
    assert "padding token that is not the end-of-turn token" in capsys.readouterr().err


def test_a_template_that_ends_no_answer_is_refused(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    save_untrained_policy(tokenizer, tmp_path / "model", seed=0)
    path = config(demo, "sft", tmp_path, model=str(tmp_path / "model"))
    assert main(["sft", "--config", str(path)]) == 2
    assert "does not close an answer with the end-of-turn token" in capsys.readouterr().err


def test_evaluate_needs_a_reward_head(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluate.yaml"
    values = {
        "reward": str(demo / "policy"),
        "pairs": str(demo / "data" / "held-out-pairs.jsonl"),
        "output": str(tmp_path / "figures.json"),
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert main(["evaluate", "--config", str(path)]) == 2
    assert "the weights lack score.weight" in capsys.readouterr().err
    assert main(["evaluate", "--config", str(path), "--set", f"reward={demo / 'reward'}"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["pairs"], figures["best_of_n"]) == (30, {})


def test_an_unknown_step_of_the_demo_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--set", "ppo.epochs=1"]) == 2
    assert "world, sft, reward, evaluate" in capsys.readouterr().err
