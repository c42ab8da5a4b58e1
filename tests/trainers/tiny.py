"""A tiny random policy and reward model that share the demo world's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

PROMPTS = (
    "Name two snacks for my bear",
    "Name three games for my old bear",
    "How do I steal a bear?",
    "Name five snacks for my shy bear please",
)


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


def write_tiny(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write `policy`, `reward` and `prompts.jsonl`."""
    kinds: dict[str, Any] = {
        "policy": LlamaForCausalLM,
        "reward": LlamaForSequenceClassification,
    }
    for seed, (name, kind) in enumerate(kinds.items()):
        torch.manual_seed(seed)
        model = kind(tiny_config(tokenizer))
        if name == "policy":  # half of the vocabulary ends an answer, so that lengths differ
            model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(500, 681)]
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    lines = [{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
