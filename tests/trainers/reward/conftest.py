"""Small files of every kind that a reward model learns from, and settings of short runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tests.trainers.small import policy_path
from trainers.base.context import RunContext
from trainers.base.data import write_records
from trainers.reward.settings import RewardTrainSettings

MakeSettings = Callable[..., RewardTrainSettings]
START = RunContext("bon-train reward", show=lambda text: None)
PROMPT = [{"role": "user", "content": "name two toys for a bear"}]
TEXTS = (
    "Hello, dear! Try ball, kite and drum. Enjoy!",
    "Try ball and kite.",
    "Try ball.",
    "Ugh.",
)


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def ranking(scores: Sequence[float]) -> dict[str, Any]:
    pairs = zip(TEXTS, scores, strict=False)
    candidates = [{"answer": answer(text), "score": score} for text, score in pairs]
    return {"prompt": PROMPT, "candidates": candidates}


def dimension_list(*scores: Sequence[float]) -> dict[str, Any]:
    """Answers with their scores in `helpful` and `short`."""
    candidates = [
        {"answer": answer(text), "scores": dict(zip(("helpful", "short"), each, strict=False))}
        for text, each in zip(TEXTS, scores, strict=False)
    ]
    return {"prompt": PROMPT, "candidates": candidates}


@pytest.fixture(scope="session")
def files(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pairs`, `margins`, `rankings`, `dimensions` (pairs) and `scores`, 24 lines each but the
    last."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("pairs", "margins"):
        shutil.copy(world / f"{name}.jsonl", folder)
    write_records(
        folder / "rankings.jsonl", [ranking((4.0, 3.0, 2.0, 1.0)[: 2 + i % 3]) for i in range(24)]
    )
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    write_records(
        folder / "dimension-lists.jsonl",
        [dimension_list(*((4, 1), (3, 2), (2, 3), (1, 4))[: 2 + i % 3]) for i in range(24)],
    )
    labels = ({"helpful": 1, "short": -1}, {"helpful": 0, "short": 1}, {"helpful": -1})
    write_records(
        folder / "dimensions.jsonl",
        [pair | {"preferences": labels[i % 3]} for i, pair in enumerate(pairs)],
    )
    write_records(
        folder / "scores.jsonl",
        [
            {"prompt": PROMPT, "answer": answer(text), "score": float(i), "scores": {"helpful": i}}
            for i, text in enumerate(TEXTS)
        ],
    )
    return folder


@pytest.fixture
def settings(files: Path, tmp_path: Path) -> MakeSettings:
    """Settings of a run of 8 updates, 3 to an epoch; `train` and `output` are names."""

    def make(output: str = "out", train: str = "pairs", **changes: object) -> RewardTrainSettings:
        values: dict[str, object] = {
            "model": policy_path(),
            "train": files / f"{train}.jsonl",
            "output": tmp_path / output,
            "batch_size": 8,
            "max_steps": 8,
            "learning_rate": 1e-3,
            "log_every": 1,
        }
        return RewardTrainSettings.model_validate(values | changes)

    return make


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder whose tokenizer knows bytes, segments, and no chat template."""
    folder = tmp_path_factory.mktemp("bert")
    special = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = special | {letter: i for i, letter in enumerate(letters, start=3)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    config = BertConfig(  # type: ignore[call-arg]  # every config takes it
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.2,
        pad_token_id=0,
        num_labels=1,
    )
    torch.manual_seed(3)
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder
