"""How a client's request becomes the request of one variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bon_gateway.backends.policy.variants.settings import VariantSettings
from bon_gateway.types import ChatRequest, Message

INSTRUCTING = ("system", "developer")
"""Roles of a message that tells the model how to answer."""


def asked(request: ChatRequest, variant: VariantSettings) -> ChatRequest:
    """The request with the variant's model, system message and sampling. A client that asks for
    temperature 0 wants the likeliest answer, so it keeps its sampling."""
    messages = request.messages
    if variant.system_suffix is not None:
        messages = with_suffix(messages, variant.system_suffix)
    sampling = request.sampling
    if variant.sampling and not request.greedy:
        sampling = {**sampling, **variant.sampling}
    return msgspec.structs.replace(
        request, messages=messages, sampling=sampling, upstream_model=variant.model
    )


def with_suffix(messages: Sequence[Message], suffix: str) -> list[Message]:
    """The conversation with ``suffix`` at the end of its system message, which is made if it does
    not begin with one. The messages that were given stay as they are."""
    first, *others = messages
    if first.get("role") not in INSTRUCTING:
        return [{"role": "system", "content": suffix}, *messages]
    return [{**first, "content": _extended(first.get("content"), suffix)}, *others]


def _extended(content: Any, suffix: str) -> Any:
    """A text, or a list of parts, with ``suffix`` at its end."""
    if isinstance(content, list):
        return [*content, {"type": "text", "text": suffix}]
    return f"{content}\n\n{suffix}" if content else suffix
