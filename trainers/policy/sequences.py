"""A batch of prompts with their answers, laid out so that every answer starts at one column.

Prompts are padded on the left and answers on the right. Positions count real tokens only, so
padding moves no log-prob, value or score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Token ids with the mask of what is real."""

    ids: Tensor
    """(rows, prompt width + answer width), int64."""
    mask: Tensor
    """As `ids`, bool; false in the padding."""
    width: int
    """Columns of the answers, at the right."""

    @classmethod
    def build(
        cls,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        pad: int,
        device: torch.device | None = None,
    ) -> Sequences:
        """Pad prompts and answers, which must hold at least one token each.

        `answers` may be empty lists all of them, for prompts that are yet to be answered.
        """
        left = max(len(prompt) for prompt in prompts)
        right = max(len(answer) for answer in answers)
        rows, mask = [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            before, after = left - len(prompt), right - len(answer)
            rows.append([*[pad] * before, *prompt, *answer, *[pad] * after])
            real = len(prompt) + len(answer)
            mask.append([*[False] * before, *[True] * real, *[False] * after])
        return cls(torch.tensor(rows, device=device), torch.tensor(mask, device=device), right)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def answers(self) -> Tensor:
        """(rows, width) token ids."""
        return self.ids[:, self.ids.shape[1] - self.width :]

    @property
    def answer_mask(self) -> Tensor:
        """(rows, width) bool; true on the left part of each row."""
        return self.mask[:, self.mask.shape[1] - self.width :]

    @property
    def positions(self) -> Tensor:
        """As `ids`: 0 for the first real token of each row."""
        return (self.mask.long().cumsum(-1) - 1).clamp(min=0)

    @property
    def lengths(self) -> Tensor:
        """(rows,) real tokens, prompt and answer together."""
        return self.mask.sum(-1)

    def select(self, rows: Tensor) -> Sequences:
        """Some rows, without the columns that are padding in all of them."""
        ids, mask = self.ids[rows], self.mask[rows]
        split = ids.shape[1] - self.width
        left = int(mask[:, :split].sum(-1).max())
        right = int(mask[:, split:].sum(-1).max())
        columns = slice(split - left, split + right)
        return Sequences(ids[:, columns], mask[:, columns], right)


def by_length(sequences: Sequences, rows: Tensor, size: int) -> list[Tensor]:
    """Split `rows` into batches of at most `size` with like lengths, which waste little padding."""
    order = sequences.lengths[rows].argsort(stable=True)
    return list(torch.split(rows[order], size))
