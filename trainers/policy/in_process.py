"""Generation by the model that is being trained, in batches with a key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from bon_common.loaded_model import cache_name
from trainers.base.seeds import seeded
from trainers.policy.sequences import Sequences

COMPACT_BELOW = 0.75
"""Finished answers leave the batch when fewer than this share of it is left."""


class InProcessGenerator:
    """Samples at a temperature, without top-k; with top-p where it is below 1."""

    def __init__(
        self,
        model: Any,
        *,
        pad: int,
        ends: frozenset[int],
        temperature: float,
        max_new_tokens: int,
        batch_size: int,
        top_p: float = 1.0,
        check: Callable[[], None] | None = None,
    ) -> None:
        """`check` is called before each token, and may raise."""
        self._check = check
        self._model = model
        self._cache = cache_name(model)
        self._pad = pad
        self._ends = torch.tensor(sorted(ends), device=model.device)
        self._temperature = temperature
        self._nucleus = TopPLogitsWarper(top_p) if top_p < 1 else None
        self._max_new_tokens = max_new_tokens
        self._batch_size = batch_size

    def refresh(self) -> None:
        """Nothing to do: it is the same model."""

    def generate(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
        """See `Generator`. Prompts of like length share a batch."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            random = seeded(seed, start, device=self._model.device)
            for row, answer in zip(
                rows, self._batch([prompts[i] for i in rows], random), strict=True
            ):
                answers[row] = answer
        return answers

    @property
    def figures(self) -> Mapping[str, float]:
        """Nothing: the model that samples is the one that is trained."""
        return {}

    @torch.no_grad()
    def _batch(self, prompts: list[Sequence[int]], random: torch.Generator) -> list[list[int]]:
        batch = Sequences.build(prompts, [[] for _ in prompts], self._pad, self._model.device)
        ids, mask, positions = batch.ids, batch.mask.long(), batch.positions
        rows = torch.arange(len(prompts), device=ids.device)
        answers = ids.new_full((len(prompts), self._max_new_tokens), self._pad)
        lengths = torch.zeros_like(rows)
        alive = torch.ones_like(rows, dtype=torch.bool)
        cache = None
        for step in range(self._max_new_tokens):
            if self._check is not None:
                self._check()
            out = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self._cache: cache},
            )
            cache = out[self._cache]
            tokens = self._draw(ids, out.logits[:, -1], random)
            answers[rows[alive], step] = tokens[alive]
            lengths[rows[alive]] += 1
            alive &= ~torch.isin(tokens, self._ends)
            left = int(alive.sum())
            if left == 0:
                break
            ids, positions = tokens.unsqueeze(-1), positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=-1)
            if left < COMPACT_BELOW * len(rows):
                cache.batch_select_indices(alive)
                ids, positions, mask, rows, alive = (
                    tensor[alive] for tensor in (ids, positions, mask, rows, alive)
                )
        return [
            row[:length] for row, length in zip(answers.tolist(), lengths.tolist(), strict=True)
        ]

    def _draw(self, ids: Tensor, logits: Tensor, random: torch.Generator) -> Tensor:
        """One token a row, from (rows, vocabulary); `ids` are what stands before it."""
        scaled = logits.float() / self._temperature
        if self._nucleus is not None:
            scaled = self._nucleus(ids, scaled)
        probabilities = scaled.softmax(-1)
        return probabilities.multinomial(1, generator=random).squeeze(-1)
