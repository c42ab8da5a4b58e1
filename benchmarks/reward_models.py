"""Random reward models whose tokens are words, texts for them, and a reward server on one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from engines import process
from load import wait_ready
from overhead import free_port
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

WORDS = 4000
SPECIALS = ("<pad>", "<eos>", "<user>", "<assistant>", "<unk>")
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} <eos> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
CONTEXT = 1536
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 2},
    "small": {"hidden_size": 256, "intermediate_size": 768, "layers": 4, "heads": 4},
    "90M": {"hidden_size": 768, "intermediate_size": 2048, "layers": 12, "heads": 12},
}
OVERHEAD_TOKENS = 4
"""The template's own tokens of the prompt."""


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    prompt: int
    """Tokens before the answer."""
    answers: tuple[int, ...]
    """Tokens of each answer, its end included."""


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and its candidates, as text and as what the template makes of it."""

    prompt: str
    answers: tuple[str, ...]

    def rendered(self) -> list[str]:
        return [
            f"<user> {self.prompt} <eos> <assistant> {answer} <eos> " for answer in self.answers
        ]

    def body(self) -> dict[str, Any]:
        """Of ``POST /v1/score``."""
        messages = [{"role": "user", "content": self.prompt}]
        return {"items": [{"messages": messages, "completions": list(self.answers)}]}


def draw_item(shape: Shape, rng: random.Random, prompt: str | None) -> Item:
    def words(count: int) -> str:
        return " ".join(f"w{rng.randrange(WORDS)}" for _ in range(count))

    return Item(
        prompt or words(shape.prompt - OVERHEAD_TOKENS + 1),
        tuple(words(tokens - 1) for tokens in shape.answers),
    )


def save_model(folder: Path, size: str, context: int = CONTEXT) -> None:
    """A random reward model whose tokens are words."""
    shape = SIZES[size]
    words = {word: i for i, word in enumerate((*SPECIALS, *(f"w{i}" for i in range(WORDS))))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106 - a word
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"  # noqa: S106
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        max_position_embeddings=context,
        initializer_range=0.05,
        num_labels=1,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)


@contextlib.contextmanager
def reward_server(folder: Path, log: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """A reward server of one thread on a model, ready; its address and process id."""
    port = free_port()
    command = [
        sys.executable, "-m", "reward_server", "--model", str(folder), "--port", str(port),
        "--threads", "1", *flags,
    ]  # fmt: skip
    with process(command, log) as server:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(wait_ready(f"{url}/readyz", server))
        yield url, server.pid
