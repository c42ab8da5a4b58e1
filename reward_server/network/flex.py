"""The attention of a packed layout as one call of FlexAttention, for devices other than the CPU.

A rule over pairs of tokens says who sees whom; the kernel skips blocks in which the rule allows
nothing (Dong et al. 2024, arXiv:2412.05496). On a GPU the kernel is compiled. On a CPU it is not:
it computes every pair, and is for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from reward_server.network.packing import Layout, Span

PROMPT = -1


@dataclass(frozen=True)
class _Marks:
    """For each token its group, its answer in the layout (or PROMPT), and its position."""

    group: Tensor
    answer: Tensor
    position: Tensor


def attend(
    layout: Layout, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None
) -> Tensor:
    """query: (1, heads, T, width); key and value: (1, key heads, T, width); returns as query."""
    pasts = [span for span in layout.spans if span.past is not None]
    if not layout.masks:
        layout.masks.append(_block_mask(layout, pasts))
    parts = [span.known_of(layer) for span in pasts]
    if parts:
        key = torch.cat([*(known for known, _ in parts), key], 2)
        value = torch.cat([*(known for _, known in parts), value], 2)
    call: Any = _compiled() if query.is_cuda else flex_attention
    found: Any = call(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        block_mask=layout.masks[0],
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found  # type: ignore[no-any-return]


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)


def _block_mask(layout: Layout, pasts: Sequence[Span]) -> BlockMask:
    asked = _marks(layout)
    device = layout.ids.device
    before = [_past(span, layout.spans.index(span), device) for span in pasts]
    seen = _Marks(
        *(torch.cat([getattr(marks, name) for marks in (*before, asked)])
          for name in ("group", "answer", "position"))
    )  # fmt: skip

    def visible(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        theirs = seen.answer[k]
        own = (theirs == PROMPT) | (theirs == asked.answer[q])
        return (seen.group[k] == asked.group[q]) & own & (seen.position[k] <= asked.position[q])

    return create_block_mask(
        visible, None, None, len(asked.group), len(seen.group), device=str(device)
    )


def _marks(layout: Layout) -> _Marks:
    """Answers outside every span have no prompt; each is a group of its own."""
    device, count = layout.ids.device, layout.ids.shape[1]
    ends = layout.last.sort().values
    place = torch.arange(count, device=device)
    # The answer that a token belongs to is the first that ends at it or behind it.
    answer = torch.searchsorted(ends, place)
    group = answer + len(layout.spans)
    for number, span in enumerate(layout.spans):
        group[span.start : span.answers_stop] = number
        answer[span.start : span.stop] = PROMPT
    return _Marks(group, answer, layout.positions[0])


def _past(span: Span, group: int, device: torch.device) -> _Marks:
    def fill(value: int) -> Tensor:
        return torch.full((span.known,), value, dtype=torch.long, device=device)

    return _Marks(fill(group), fill(PROMPT), torch.arange(span.known, device=device))
