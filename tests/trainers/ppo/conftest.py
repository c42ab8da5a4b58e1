"""Tiny random models that share the demo world's tokenizer, and the settings to train them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from trainers.demo.tokenizer import build_tokenizer
from trainers.ppo.settings import PpoSettings

PROMPTS = (
    "Name two snacks for my bear",
    "Name three games for my old bear",
    "How do I steal a bear?",
    "Name five snacks for my shy bear please",
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(  # type: ignore[call-arg]  # every config takes it
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
        initializer_range=0.3,  # so that its distributions are far from even
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with `policy`, `reward` and `prompts.jsonl`."""
    root = tmp_path_factory.mktemp("tiny")
    kinds: dict[str, Any] = {
        "policy": LlamaForCausalLM,
        "reward": LlamaForSequenceClassification,
    }
    for seed, (name, kind) in enumerate(kinds.items()):
        torch.manual_seed(seed)
        model = kind(tiny_config(tokenizer))
        if name == "policy":  # half of the vocabulary ends an answer, so that lengths differ
            model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(500, 681)]
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    lines = [{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS]
    (root / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture
def values(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run that takes a second."""
    return {
        "model": str(tiny / "policy"),
        "reward": str(tiny / "reward"),
        "prompts": str(tiny / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "iterations": 2,
        "prompts_per_iteration": 8,
        "sampling": {"max_new_tokens": 6},
        "update": {"minibatch_size": 4, "micro_batch_size": 4, "epochs": 2, "learning_rate": 1e-3},
        "device": "cpu",
    }


@pytest.fixture
def settings(values: dict[str, Any]) -> PpoSettings:
    return PpoSettings.model_validate(values)


@pytest.fixture
def write(values: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the YAML of a run with some settings changed."""

    def written(**changes: Any) -> Path:
        path = tmp_path / "ppo.yaml"
        path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
        return path

    return written
