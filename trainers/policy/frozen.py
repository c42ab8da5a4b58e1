"""A policy that is only read: its weights, and the log-probabilities of whole answers under it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from trainers.base.loading import find_device, load_pretrained
from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences

UNRELATED = frozenset(("_name_or_path", "use_cache", "transformers_version"))
"""Entries of a model's configuration that change no log-probability."""


def load_frozen(model: str | Path, revision: str | None = None, *, device: str = "cpu") -> Any:
    """The policy of a checkpoint in float32, for reading only; ModelError if there is none.

    `device` as `find_device` takes it.
    """
    place = find_device(device)
    policy = load_pretrained(AutoModelForCausalLM, model, revision).to(place)
    return policy.eval().requires_grad_(False)


def score_answers(
    model: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]], batch_size: int
) -> list[float]:
    """log p(answer | prompt) of each in nats, in the order given; without dropout and gradients."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(answers[i]))
    logps = [0.0] * len(prompts)
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        rows = Sequences.build(
            [prompts[i] for i in places], [answers[i] for i in places], pad=0, device=model.device
        )
        with torch.inference_mode():
            tokens = answer_logps(model, rows, temperature=1.0).masked_fill(~rows.answer_mask, 0.0)
        for place, value in zip(places, tokens.sum(-1).tolist(), strict=True):
            logps[place] = value
    model.train(was_training)
    return logps


def weights_hash(model: Any) -> str:
    """SHA-256 over a model's configuration and the names, types and bytes of its weights."""
    digest = hashlib.sha256(type(model).__name__.encode())
    shape = {k: v for k, v in model.config.to_dict().items() if k not in UNRELATED}
    digest.update(json.dumps(shape, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
