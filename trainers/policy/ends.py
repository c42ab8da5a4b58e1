"""The tokens that end an answer, and the one that pads a batch."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from trainers.base.errors import ModelError


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer, by the model's generation settings and the tokenizer.

    Raises ModelError if there are none.
    """
    ends: set[int] = set()
    for eos in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        ends |= set(eos if isinstance(eos, list) else [] if eos is None else [eos])
    if not ends:
        raise ModelError(f"{tokenizer.name_or_path}: no end-of-turn token is known")
    return frozenset(ends)


def pad_token(tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> int:
    """Any id will do for padding that is masked; the tokenizer's own, or an end token."""
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) else min(ends)
