"""The forward pass of a causal language model, with its key-value cache."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicSlidingWindowLayer

from bon_common.loaded_model import cache_name
from bon_gateway.backends.policy.embedded.cache import RoomyLayer, make_room

PREFILL_CHUNK = 512
"""Prompt tokens in one step. Other requests get their turns between two steps."""


class CausalNetwork:
    """A transformers model: token ids in, logits of the next token out."""

    def __init__(self, model: Any) -> None:
        """``model`` is any ``*ForCausalLM`` whose cache is a transformers ``Cache``."""
        self._model = model
        self.prefill_chunk: int | None = None
        """Most prompt tokens to give in one call; None wants the prompt whole."""
        self._cache = cache_name(model)
        accepted = inspect.signature(model.forward).parameters
        # Without it a long prompt makes logits for each of its tokens.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def __call__(self, tokens: Tensor, cache: Any | None) -> tuple[Tensor, Any]:
        """Continue ``cache`` (None: the beginning) by ``tokens`` [B, T].

        Returns the logits [B, V] after the last token, and the cache, which holds B rows.
        """
        known = {self._cache: cache}
        output = self._model(input_ids=tokens, use_cache=True, **known, **self._last_only)
        cache = output.get(self._cache)
        make_room(cache)
        return output.logits[:, -1], cache

    def take(self, cache: Any, rows: Tensor) -> None:
        """Keep the cache's rows at the positions ``rows`` [M], in that order. A position may occur
        many times, or not at all."""
        # Beam search's method, because recurrent layers have it and not the batch_* ones.
        cache.reorder_cache(rows)

    def probe(self, device: torch.device) -> None:
        """Run every path once, to warm up kernels and to find early what the model lacks.

        Raises ValueError for a model without a cache that can be repeated.
        """
        with torch.inference_mode():
            zeros = torch.zeros(2, dtype=torch.long, device=device)
            _, cache = self(zeros[None], None)
            if not hasattr(cache, "reorder_cache"):
                raise ValueError("its forward pass returns no cache that can be repeated")
            self.take(cache, zeros)
            self(zeros[:, None], cache)
            self.take(cache, zeros[:1])
            self(zeros[:1, None], cache)
        # Recurrent layers take a prompt whole or token by token, but not in chunks.
        layers = getattr(cache, "layers", None) or [None]
        if all(type(layer) in (RoomyLayer, DynamicSlidingWindowLayer) for layer in layers):
            self.prefill_chunk = PREFILL_CHUNK
