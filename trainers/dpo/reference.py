"""Log-probabilities of whole answers under a frozen policy, computed once before training.

They depend on the data, the weights and how text becomes tokens, and on nothing that training
changes; so they are kept on disk under a hash of just that, and a second run reads them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from trainers.base.data import data_hash
from trainers.base.files import whole
from trainers.policy.frozen import score_answers, weights_hash

VERSION = "2"
"""Part of the key; raise it when the computation changes."""


@dataclass(frozen=True)
class ReferenceLogps:
    """Sums of token log-probabilities in nats, one a pair, in the order of the rows."""

    chosen: list[float]
    rejected: list[float]


def reference_logps(model: Any, rows: Sequence[dict[str, Any]], batch_size: int) -> ReferenceLogps:
    """Both sides of every row under a policy."""
    prompts = [row["prompt_ids"] for row in rows]
    chosen = score_answers(model, prompts, [row["chosen_ids"] for row in rows], batch_size)
    rejected = score_answers(model, prompts, [row["rejected_ids"] for row in rows], batch_size)
    return ReferenceLogps(chosen, rejected)


def cache_key(
    data: Path,
    reference: Any,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    dtype: str = "float32",
) -> str:
    """SHA-256 over the data's bytes, the reference's weights and shape, the tokenizer, the chat
    template, the length limit and the type that layers compute in: all that the log-probabilities
    depend on."""
    parts = [VERSION, data_hash(data), weights_hash(reference), str(tokenizer.chat_template)]
    if dtype != "float32":
        parts.append(dtype)
    # The vocabulary and merges; a tokenizer without a fast form is named by its vocabulary.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts.append(repr(sorted(tokenizer.get_vocab())) if backend is None else backend.to_str())
    digest = hashlib.sha256()
    for part in [*parts, str(max_length)]:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def read_cache(folder: Path, key: str, pairs: int) -> ReferenceLogps | None:
    """What `write_cache` left under `key`, or None."""
    path = folder / f"{key}.safetensors"
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except SafetensorError:  # damaged; it is computed anew
        return None
    if len(tensors["chosen"]) != pairs:
        return None
    return ReferenceLogps(tensors["chosen"].tolist(), tensors["rejected"].tolist())


def write_cache(folder: Path, key: str, logps: ReferenceLogps) -> None:
    """Keep `logps` under `key`; a reader sees all or nothing. RunError if the disk is full."""
    tensors = {"chosen": torch.tensor(logps.chosen), "rejected": torch.tensor(logps.rejected)}
    with whole(folder / f"{key}.safetensors") as partial:
        save_file(tensors, partial)
