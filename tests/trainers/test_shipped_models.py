"""The weights in the gateway's package: what their model cards claim, measured again in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from bon_gateway.demo_models import policy_path, reward_path
from trainers.base.data import write_records
from trainers.base.settings import load_settings, shipped
from trainers.demo.data import make_world
from trainers.demo.settings import WorldSettings
from trainers.demo.tokenizer import build_tokenizer
from trainers.evaluation.figures import Figures
from trainers.evaluation.run import evaluate
from trainers.evaluation.settings import EvaluateSettings
from trainers.rewards.gold import GoldSettings

FOLDERS = (policy_path(), reward_path())


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """The pairs of the model card, and fewer answers to fewer of its prompts."""
    world = make_world(load_settings(WorldSettings, shipped("demo-world.yaml")))
    folder = tmp_path_factory.mktemp("held-out")
    write_records(folder / "pairs.jsonl", world.held_out_pairs)
    write_records(folder / "prompts.jsonl", world.held_out_prompts[:60])
    torch.set_num_threads(1)
    return evaluate(
        EvaluateSettings(
            reward=reward_path(),
            policy=policy_path(),
            pairs=folder / "pairs.jsonl",
            prompts=folder / "prompts.jsonl",
            output=folder / "figures.json",
            gold=GoldSettings(function="trainers.demo.gold:gold", field="total"),
            samples=16,
            seed=3,
        )
    )


def test_best_of_8_beats_one_sample(figures: Figures) -> None:
    assert figures.best_of_n[8] - figures.best_of_n[1] >= 1.2


def test_more_samples_are_better(figures: Figures) -> None:
    curve = [figures.best_of_n[n] for n in (1, 2, 4, 8, 16)]
    assert curve == sorted(curve)


def test_the_reward_model_orders_pairs(figures: Figures) -> None:
    assert figures.accuracy is not None
    assert figures.accuracy_wide_gap is not None
    assert figures.accuracy >= 0.82
    assert figures.accuracy_wide_gap >= 0.90


def test_the_card_tells_what_is_measured_here(figures: Figures) -> None:
    card = (reward_path() / "README.md").read_text(encoding="utf-8")
    card = card.split("## On held-out prompts")[1]
    for name in ("reward model accuracy", "mean reward"):
        said = float(card.split(f"| {name} | ")[1].split(" |")[0])
        assert figures.table()[name] == pytest.approx(said, abs=0.002)


def test_rewards_are_centred(figures: Figures) -> None:
    assert figures.reward_mean is not None
    assert figures.reward_std is not None
    assert abs(figures.reward_mean) < figures.reward_std


def test_all_files_are_small() -> None:
    files = [path for folder in FOLDERS for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 12
    assert sum(path.stat().st_size for path in files) < 10_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tokenizer_is_the_one_that_the_code_builds(folder: Path) -> None:
    loaded: Any = AutoTokenizer.from_pretrained(folder)
    built = build_tokenizer()
    assert loaded.get_vocab() == built.get_vocab()
    assert loaded.chat_template == built.chat_template
    assert loaded.pad_token_id != loaded.eos_token_id


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_card_says_how_it_was_made(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "    bon-train demo --output runs/demo\n" in card
    assert "SHA-256" in card
    assert "gold reward, best of 8" in card


def test_the_models_load_in_float32() -> None:
    policy = AutoModelForCausalLM.from_pretrained(policy_path())
    reward = AutoModelForSequenceClassification.from_pretrained(reward_path())
    assert policy.dtype == reward.dtype == torch.float32
    assert policy.config.max_position_embeddings == reward.config.max_position_embeddings == 512
    assert reward.config.num_labels == 1
    generation = policy.generation_config
    assert (generation.temperature, generation.top_k, generation.top_p) == (1.0, 0, None)
