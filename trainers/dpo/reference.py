"""Log-probabilities of whole answers under a frozen policy, computed once before training.

They depend on the data, the weights and how text becomes tokens, and on nothing that training
changes; so they are kept on disk under a hash of just that, and a second run reads them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from trainers.data import data_hash
from trainers.runtime.files import write_whole
from trainers.runtime.models import load_pretrained
from trainers.scoring import find_device

IGNORED = -100
"""The label of a token that does not count, torch's default."""

VERSION = "1"
"""Part of the key; raise it when the computation changes."""


UNRELATED = frozenset(("_name_or_path", "use_cache", "transformers_version"))
"""Entries of a model's configuration that change no log-probability."""


@dataclass(frozen=True)
class ReferenceLogps:
    """Sums of token log-probabilities in nats, one a pair, in the order of the rows."""

    chosen: list[float]
    rejected: list[float]


def answer_logps(logits: Tensor, ids: Tensor, counts: Tensor) -> Tensor:
    """log p(answer | prompt), the sum over the tokens that count.

    logits: (batch, tokens, vocabulary); ids: (batch, tokens); counts: (batch, tokens), true at the
    tokens of the answer. Returns (batch,) in nats. Position t predicts token t + 1; a first token
    that counts has no prediction and is left out.
    """
    labels = ids[:, 1:].masked_fill(~counts[:, 1:].bool(), IGNORED)
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return -losses.sum(dim=1)


def score_answers(
    model: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]], batch_size: int
) -> list[float]:
    """log p(answer | prompt) of each, in the order given; without dropout and gradients."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(answers[i]))
    logps = [0.0] * len(prompts)
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        values = _score_batch(model, [prompts[i] for i in indices], [answers[i] for i in indices])
        for index, value in zip(indices, values, strict=True):
            logps[index] = value
    model.train(was_training)
    return logps


def _score_batch(
    model: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]]
) -> list[float]:
    longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    attended = torch.zeros_like(ids)
    counts = torch.zeros_like(ids)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        attended[row, :end] = 1
        counts[row, len(prompt) : end] = 1
    ids, attended, counts = (part.to(model.device) for part in (ids, attended, counts))
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=attended, use_cache=False).logits
        return [float(value) for value in answer_logps(logits, ids, counts).tolist()]


def load_frozen(model: str | Path, revision: str | None = None, *, device: str = "cpu") -> Any:
    """The policy of a checkpoint in float32, for reading only; ModelError if there is none.

    `device` as `find_device` takes it.
    """
    place = find_device(device)
    policy = load_pretrained(AutoModelForCausalLM, model, revision).to(place)
    return policy.eval().requires_grad_(False)


def reference_logps(model: Any, rows: Sequence[dict[str, Any]], batch_size: int) -> ReferenceLogps:
    """Both sides of every row under a policy."""
    prompts = [row["prompt_ids"] for row in rows]
    chosen = score_answers(model, prompts, [row["chosen_ids"] for row in rows], batch_size)
    rejected = score_answers(model, prompts, [row["rejected_ids"] for row in rows], batch_size)
    return ReferenceLogps(chosen, rejected)


def cache_key(
    data: Path, reference: Any, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> str:
    """SHA-256 over the data's bytes, the reference's weights and shape, the tokenizer, the chat
    template and the length limit: all that the log-probabilities depend on."""
    parts = [VERSION, data_hash(data), weights_hash(reference), str(tokenizer.chat_template)]
    # The vocabulary and merges; a tokenizer without a fast form is named by its vocabulary.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts.append(repr(sorted(tokenizer.get_vocab())) if backend is None else backend.to_str())
    digest = hashlib.sha256()
    for part in [*parts, str(max_length)]:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def weights_hash(model: Any) -> str:
    """SHA-256 over a model's configuration and the names, types and bytes of its weights."""
    digest = hashlib.sha256(type(model).__name__.encode())
    shape = {k: v for k, v in model.config.to_dict().items() if k not in UNRELATED}
    digest.update(json.dumps(shape, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
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
    write_whole(folder / f"{key}.safetensors", lambda partial: save_file(tensors, partial))
