"""Attention over a packed layout: each answer sees its prompt and itself, and nothing else.

A token of an answer attends to up to three sets of keys: those of the prompt's beginning that an
earlier call computed, the rest of the prompt's, and its own answer's. The attentions are computed
apart, by the kernel that torch has for them, and joined by the log-sum-exp of their scores, as
FlashAttention joins its blocks (Dao et al. 2022, arXiv:2205.14135): exact, with no mask and no
copy of the prompt's keys.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from reward_server.network import flex
from reward_server.network.packing import Bucket, Layout, Span

NAME = "shared_prompt"
"""The attention implementation's name in the library's registry."""


class UnsupportedAttentionError(Exception):
    """The network's attention does more than this module computes."""


def register() -> None:
    """Make the implementation known to the library; without a layout it is its own `sdpa`."""
    # A compiled network calls it as it stands: traced, it would be compiled for every layout.
    AttentionInterface.register(NAME, torch.compiler.disable(attention))  # type: ignore[no-untyped-call]
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The library's attention function; returns (1, T, heads, width).

    query: (1, heads, T, width); key and value: (1, key heads, T, width). Raises
    UnsupportedAttentionError for a layout where the network also caps scores, adds sinks or
    biases, or looks at a window that is shorter than a conversation.
    """
    if layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **others
        )
    _refuse_more(layout, sliding_window, others)
    for span in layout.spans:
        _keep(span, module, key, value)
    if layout.flex:
        layer = _layer(module) if any(span.past for span in layout.spans) else 0
        return flex.attend(layout, layer, query, key, value, scaling).transpose(1, 2), None
    if layout.final is not None and layout.final.number == _layer(module):
        return _of_last(module, layout, query, key, value, scaling).transpose(1, 2), None
    # Within answers the kernel wants a key head for each query head. Towards a prompt `_see` folds
    # the query heads of a key head instead, so that a long prompt's keys are not copied.
    own_key, own_value = key, value
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
    out = torch.empty_like(query)
    # The filling is in no bucket and in no span, so nothing below writes its rows.
    out[:, :, layout.tokens :] = 0
    sums = query.new_empty(query.shape[:3], dtype=torch.float32)
    # The order matters: `_see` joins further keys to what `out` and `sums` hold already. Answers
    # first see themselves, then their prompt; last, prompt and answers see what was known.
    for bucket in layout.buckets:
        _attend_within(bucket, query, key, value, scaling, out, sums)
    for span in layout.spans:
        prompt = slice(span.start, span.stop)
        prompt_key, prompt_value = own_key[:, :, prompt], own_value[:, :, prompt]
        if span.stop > span.start:
            out[:, :, prompt], sums[:, :, prompt] = _flash(
                query[:, :, prompt], key[:, :, prompt], value[:, :, prompt], True, scaling
            )
            answers = slice(span.stop, span.answers_stop)
            _see(answers, prompt_key, prompt_value, query, scaling, out, sums)
        if span.past is not None:
            everything = slice(span.start, span.answers_stop)
            _see(everything, *span.known_of(_layer(module)), query, scaling, out, sums)
    return out.transpose(1, 2), None


def _of_last(
    module: nn.Module, layout: Layout, query: Tensor, key: Tensor, value: Tensor,
    scale: float | None,
) -> Tensor:  # fmt: skip
    """Attention of the last token of each sequence, shaped as `query`; zeros for other tokens."""
    whole = torch.zeros_like(query)
    if len(layout.last) == 0:
        return whole
    asked = query[:, :, layout.last]
    out, sums = torch.empty_like(asked), asked.new_empty(asked.shape[:3], dtype=torch.float32)
    for bucket in layout.buckets:
        _see_own(bucket, asked, key, value, scale, out, sums)
    for span in layout.spans:
        if span.stop > span.start:
            prompt = slice(span.start, span.stop)
            _see(span.sequences, key[:, :, prompt], value[:, :, prompt], asked, scale, out, sums)
        if span.past is not None:
            _see(span.sequences, *span.known_of(_layer(module)), asked, scale, out, sums)
    whole[:, :, layout.last] = out
    return whole


def _keep(span: Span, module: nn.Module, key: Tensor, value: Tensor) -> None:
    if span.kept is None:
        return
    if _layer(module) != len(span.kept):
        raise UnsupportedAttentionError("layers that are not called in their order")
    prompt = slice(span.start, span.stop)
    span.kept.append((key[:, :, prompt].clone(), value[:, :, prompt].clone()))


def _layer(module: nn.Module) -> int:
    number = getattr(module, "layer_idx", None)
    if not isinstance(number, int):
        raise UnsupportedAttentionError("layers without a number")
    return number


def _refuse_more(layout: Layout, window: int | None, others: dict[str, Any]) -> None:
    if window is not None and layout.longest > window:
        raise UnsupportedAttentionError(f"a window of {window} tokens")
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise UnsupportedAttentionError(name)


def _flash(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output and the log-sum-exp of the scores, natural, float32 of shape (batch, heads, queries).

    `mask`, (batch, 1, 1, keys), is added to the scores. Raises ValueError where there is
    nothing to attend, which the kernel does not survive.
    """
    if query.numel() == 0 or key.numel() == 0:
        raise ValueError("a layout with an empty part")
    # The public function keeps the log-sum-exp to itself.
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    out, sums = kernel(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
    return out, sums


def _rows(bucket: Bucket, tensor: Tensor) -> Tensor:
    """(1, heads, T, width) to (rows, heads, longest, width), an answer a row."""
    _, heads, _, width = tensor.shape
    padded = tensor[0].index_select(1, bucket.gather)
    return padded.view(heads, bucket.rows, -1, width).transpose(0, 1)


def _attend_within(
    bucket: Bucket, query: Tensor, key: Tensor, value: Tensor, scale: float | None,
    out: Tensor, sums: Tensor,
) -> None:  # fmt: skip
    """Let each answer attend to itself, causally."""
    heads, width = query.shape[1], query.shape[3]
    # No mask is needed: padding lies at a row's end, and causal attention never looks there.
    found, found_sums = _flash(
        _rows(bucket, query), _rows(bucket, key), _rows(bucket, value), True, scale
    )
    flat = found.transpose(0, 1).reshape(heads, -1, width).index_select(1, bucket.real)
    out[0].index_copy_(1, bucket.tokens, flat)
    flat_sums = found_sums.transpose(0, 1).reshape(heads, -1).index_select(1, bucket.real)
    sums[0].index_copy_(1, bucket.tokens, flat_sums)


def _see_own(
    bucket: Bucket, asked: Tensor, key: Tensor, value: Tensor, scale: float | None,
    out: Tensor, sums: Tensor,
) -> None:  # fmt: skip
    """The last token of each answer to all of that answer; `asked`: (1, heads, sequences, width).

    The query heads that share a key head become queries of one head.
    """
    heads, _, width = asked.shape[1:]
    queries = asked[0].index_select(1, bucket.sequences).transpose(0, 1)
    # One query a row is not causal, so here the padding must be masked.
    mask = asked.new_zeros(bucket.padding.shape).masked_fill(bucket.padding, -math.inf)
    found, found_sums = _flash(
        queries.reshape(bucket.rows, key.shape[1], -1, width),
        _rows(bucket, key), _rows(bucket, value), False, scale, mask[:, None, None, :],
    )  # fmt: skip
    found = found.reshape(bucket.rows, heads, width).transpose(0, 1)
    out[0].index_copy_(1, bucket.sequences, found)
    sums[0].index_copy_(1, bucket.sequences, found_sums.reshape(bucket.rows, heads).T)


def _see(
    tokens: slice, key: Tensor, value: Tensor, query: Tensor, scale: float | None,
    out: Tensor, sums: Tensor,
) -> None:  # fmt: skip
    """Let `tokens` attend to further keys, which all stand before them; none is masked.

    key and value: (1, key heads, keys, width). The query heads that share a key head become
    queries of one head, so that no key is repeated.
    """
    asked = query[:, :, tokens]
    if asked.shape[2] == 0:
        return
    _, heads, count, width = asked.shape
    folded = asked.reshape(1, key.shape[1], -1, width)
    seen, seen_sums = _flash(folded, key, value, False, scale)
    seen, seen_sums = seen.reshape(1, heads, count, width), seen_sums.reshape(1, heads, count)
    before = sums[:, :, tokens]
    # exp(seen) / (exp(seen) + exp(before)), the new keys' part of the softmax, without overflow.
    share = torch.sigmoid(seen_sums - before).unsqueeze(-1).to(seen.dtype)
    out[:, :, tokens] = torch.lerp(out[:, :, tokens], seen, share)
    sums[:, :, tokens] = torch.logaddexp(before, seen_sums)
