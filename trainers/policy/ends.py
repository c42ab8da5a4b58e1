"""The tokens that end an answer, and the one that pads a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from trainers.base.adapters import find_adapter
from trainers.base.errors import ModelError
from trainers.base.loading import base_of, load_config


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer, by the model's generation settings and the tokenizer.

    Raises ModelError if there are none.
    """
    return _ends(tokenizer, model.generation_config.eos_token_id)


def declared_ends(
    tokenizer: PreTrainedTokenizerBase, model: str | Path, revision: str | None = None
) -> frozenset[int]:
    """The same of a checkpoint whose weights are not loaded yet; of an adapter's base."""
    adapter = find_adapter(model, revision)
    if adapter is not None:
        return declared_ends(tokenizer, base_of(adapter), adapter.base_revision)
    try:
        settings: Any = GenerationConfig.from_pretrained(str(model), revision=revision or "main")
    except OSError:  # it has none; then its configuration counts
        settings = load_config(model, revision).get_text_config()
    return _ends(tokenizer, settings.eos_token_id)


def _ends(tokenizer: PreTrainedTokenizerBase, declared: Any) -> frozenset[int]:
    ends: set[int] = set()
    for eos in (declared, tokenizer.eos_token_id):
        ends |= set(eos if isinstance(eos, list) else [] if eos is None else [eos])
    if not ends:
        raise ModelError(f"{tokenizer.name_or_path}: no end-of-turn token is known; set eos_token")
    return frozenset(ends)


def pad_token(tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> int:
    """Any id will do for padding that is masked; the tokenizer's own, or an end token."""
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) else min(ends)
