"""`trained.json`: what a model answered when its training ended, to compare a later load with.

A folder, an adapter above all, may load as another model: on another base, or with weights that the
library draws at random. Loaded twice, both are wrong, and no comparison of the two tells.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bon_common.loaded_model import position_limit
from trainers.base.errors import ModelError
from trainers.base.files import write_json

NAME = "trained.json"
SEQUENCES = 3
LENGTH = 16


def probes(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids without meaning, the same for every model of this vocabulary."""
    special = set(tokenizer.all_special_ids)
    usable = sorted(set(tokenizer.get_vocab().values()) - special) or [0]
    length = min(LENGTH, position_limit(model) or LENGTH)
    return [random.Random(i).choices(usable, k=length) for i in range(SEQUENCES)]


def answers(model: Any, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """For each sequence a reward model's outputs (at the last token if it scores tokens), or a
    policy's log-probs of all tokens but the first; float32 on the CPU, without dropout."""
    was_training = model.training
    model.eval()
    found = []
    with torch.inference_mode():
        for sequence in sequences:
            ids = torch.tensor([list(sequence)], device=model.device)
            logits = model(input_ids=ids).logits[0].float()
            if logits.dim() == 2 and logits.shape[1] == model.config.num_labels:
                logits = logits[-1]  # a process reward model: (length, labels)
            elif logits.dim() == 2:  # a policy: (length, vocabulary)
                logits = logits[:-1].log_softmax(-1).gather(-1, ids[0, 1:, None]).squeeze(-1)
            found.append(logits.cpu())
    model.train(was_training)
    return found


def record(model: Any, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What `write_record` keeps."""
    sequences = probes(model, tokenizer)
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "sequences": sequences,
        "answers": [one.tolist() for one in answers(model, sequences)],
    }


def write_record(folder: Path, found: dict[str, Any]) -> None:
    """Raises RunError if the disk is full."""
    write_json(folder / NAME, found)


def read_record(folder: Path) -> dict[str, Any] | None:
    """What `write_record` wrote, or None; ModelError for another file."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: values[key] for key in ("dtype", "sequences", "answers")}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not what bon-train writes: {error}") from error
