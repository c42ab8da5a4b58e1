"""A stand-in for Qwen2.5-0.5B-Instruct, and data in the shape of UltraFeedback's.

All that a run could trip over is as it is there: the chat template (TRL ships it), tied weights in
bfloat16, a padding token that only the tokenizer names, two end tokens, and sampling defaults.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from pyarrow import parquet
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from trainers.base.data import write_records
from trainers.base.settings import shipped
from trainers.cli import main

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty")
RECORDS = 40

BonTrain = Callable[..., Path]


def chat_template() -> str:
    return (files("trl") / "chat_templates" / "qwen2_5.jinja").read_text(encoding="utf-8")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 tokens; without a BOS token, as Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(token, special=True) for token in (PAD, START, END)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([chat_template(), " ".join(WORDS)] * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START, END],
        chat_template=chat_template(),
    )


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder."""
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = make_tokenizer()
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    config = Qwen2Config(
        vocab_size=448,  # Qwen's too has more rows than tokens
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=pad,
        eos_token_id=end,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    model: Any = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=pad,
        pad_token_id=pad,
        eos_token_id=[end, pad],
        do_sample=True,
        repetition_penalty=1.1,
        temperature=0.7,
        top_p=0.8,
        top_k=20,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ultrafeedback() -> list[dict[str, Any]]:
    rng = random.Random(0)

    def words(count: int) -> str:
        return " ".join(rng.choices(WORDS, k=count))

    return [
        {
            "instruction": f"{words(3)} {number}?",
            "completions": [
                {"model": name, "response": words(2 + 2 * place), "overall_score": 1.0 + 2 * place}
                for place, name in enumerate(("a", "b", "c", "d"))
            ],
        }
        for number in range(RECORDS)
    ]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for `runs/qwen`: `ultrafeedback.parquet`, and what runs write."""
    folder = tmp_path_factory.mktemp("runs")
    parquet.write_table(
        pyarrow.Table.from_pylist(ultrafeedback()), folder / "ultrafeedback.parquet"
    )
    conversations = [
        {
            "messages": [
                {"role": "user", "content": record["instruction"]},
                {"role": "assistant", "content": record["completions"][-1]["response"]},
            ]
        }
        for record in ultrafeedback()
    ]
    write_records(folder / "sft.jsonl", conversations)
    return folder


@pytest.fixture(scope="session")
def bon_train(qwen: Path, runs: Path) -> BonTrain:
    """``bon_train("dpo", output="dpo", ...)`` runs `qwen-dpo.yaml` with those settings changed.

    Names of inputs and outputs are below `runs`; a command that trains starts from `qwen`.
    """

    def start(name: str, *flags: str, output: str, model: bool = True, **changes: Any) -> Path:
        command = name.rpartition("-")[2]
        known = {"output": str(runs / output)} | ({"model": str(qwen)} if model else {})
        overrides = [
            part
            for key, value in (known | changes).items()
            for part in ("--set", f"{key.replace('__', '.')}={json.dumps(value, default=str)}")
        ]
        assert (
            main([command, "--config", str(shipped(f"qwen-{name}.yaml")), *overrides, *flags]) == 0
        )
        return runs / output

    return start


@pytest.fixture(scope="session")
def data(bon_train: BonTrain, runs: Path) -> Path:
    """The pairs that qwen-ultrafeedback-prepare.yaml makes."""
    source = str(runs / "ultrafeedback.parquet")
    return bon_train(
        "ultrafeedback-prepare", output="data", model=False, input=source, held_out_share=0.2
    )


@pytest.fixture(scope="session")
def reward(bon_train: BonTrain, data: Path) -> Path:
    """The reward model that qwen-reward.yaml makes."""
    return bon_train(
        "reward",
        output="reward",
        eval_pairs=data / "held-out.jsonl",
        train=data / "train.jsonl",
        max_steps=2,
    )
