"""Generation by the model that is being trained, in batches with a key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bon_common.loaded_model import cache_name
from trainers.base.seeds import seeded
from trainers.policy.sequences import Sequences

NUCLEUS_PREFIXES = (256, 4096)
"""Numbers of likeliest tokens among which the nucleus is looked for before all are sorted."""
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
        self._top_p = top_p
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
        # Equal prompts are read once.
        places = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        batch = Sequences.build(list(places), [[]] * len(places), self._pad, self._model.device)
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
            cache, logits = out[self._cache], out.logits[:, -1]
            if step == 0 and len(places) < len(prompts):
                which = rows.new_tensor([places[tuple(prompt)] for prompt in prompts])
                cache.reorder_cache(which)
                logits, positions, mask = logits[which], positions[which], mask[which]
            tokens = self._draw(logits, random)
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

    def _draw(self, logits: Tensor, random: torch.Generator) -> Tensor:
        """One token a row, from (rows, vocabulary)."""
        scaled = logits.float() / self._temperature
        if self._top_p == 1:
            return scaled.softmax(-1).multinomial(1, generator=random).squeeze(-1)
        probabilities, tokens = nucleus(scaled.softmax(-1), self._top_p)
        drawn = probabilities.multinomial(1, generator=random)
        return tokens.gather(-1, drawn).squeeze(-1)


def nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens that have `top_p` together, the last one included: their probabilities
    and ids, both (rows, width); 0 behind a row's last one (Holtzman et al. 2020, arXiv:1904.09751).
    """
    vocabulary = probabilities.shape[-1]
    for width in (*(size for size in NUCLEUS_PREFIXES if size < vocabulary), vocabulary):
        largest, tokens = probabilities.topk(width)
        before = largest.cumsum(-1) - largest
        if width == vocabulary or bool((before[:, -1] >= top_p).all()):
            break
    return largest.masked_fill(before >= top_p, 0.0), tokens
