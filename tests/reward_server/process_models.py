"""Small random process reward models on disk, and their scores by transformers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from reward_server.network.step_heads import Qwen2ForProcessRewardModel
from tests.reward_server.conftest import BOS, EOS, PAD, SPECIALS, TEMPLATE, byte_tokenizer

STEP = "<step>"
LIMIT = 256
ANSWERS = {
    "3 times 4 is 12.\n\n2 + 12 is 14.\n\nIt is 14.": [
        "3 times 4 is 12.", "2 + 12 is 14.", "It is 14.",
    ],
    "2 + 3 is 5.\n\n5 times 4 is 20.": ["2 + 3 is 5.", "5 times 4 is 20."],
    "It is 14.": ["It is 14."],
}  # fmt: skip
"""The steps of each."""
KINDS: Mapping[str, Any] = {
    "token": AutoModelForTokenClassification,
    "sequence": AutoModelForSequenceClassification,
    "qwen": Qwen2ForProcessRewardModel,
    "encoder": AutoModelForTokenClassification,
}


def chat_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [STEP]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_process_model(folder: Path, kind: str, labels: int = 2, **changes: object) -> Path:
    """A random two-layer network whose step scores lie far apart."""
    sizes: dict[str, Any] = {
        "vocab_size": len(SPECIALS) + 256 + 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": LIMIT,
        "initializer_range": 0.3,
        "num_labels": labels,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        **changes,
    }
    config: Any
    if kind == "encoder":
        config = BertConfig(**sizes)
    elif kind == "qwen":
        config = Qwen2Config(**sizes, num_key_value_heads=2)
    else:
        config = LlamaConfig(**sizes, num_key_value_heads=2)
    torch.manual_seed(11)
    auto = KINDS[kind]
    net = auto(config) if kind == "qwen" else auto.from_config(config)
    net.save_pretrained(folder)
    chat_tokenizer().save_pretrained(folder)
    return folder


def plain_scores(
    folder: Path, kind: str, messages: Sequence[Mapping[str, str]], steps: Sequence[str], right: int
) -> list[float]:
    """As the model card of Qwen2.5-Math-PRM does it: marks in the text, which are searched for."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    net: Any = KINDS[kind].from_pretrained(folder).eval()
    answer = {"role": "assistant", "content": STEP.join(steps) + STEP}
    text = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    marks = ids[0] == tokenizer.convert_tokens_to_ids(STEP)
    with torch.no_grad():
        if kind in ("token", "encoder"):
            logits = net(input_ids=ids).logits[0]
        else:
            logits = net.score(net.model(input_ids=ids).last_hidden_state[0])
        found = logits[marks]
        scores = found.sigmoid() if found.shape[1] == 1 else found.softmax(-1)
    values: list[float] = scores[:, right].tolist()
    return values[-len(steps) :]  # the prompt may hold a mark too
