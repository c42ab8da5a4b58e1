"""What a chat model says that a call took, as far as it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bon_gateway.types import JudgeUsage

MOST_TOKENS = 1 << 31
"""A call does not take more. A larger count is no count: added up, such numbers could not be
written into an answer, and would spend a key's budget for good."""


def read_usage(usage: Any) -> JudgeUsage:
    """The tokens in the ``usage`` of a chat completion, with neither calls nor abstentions. What is
    no count is 0: a negative one would give a key's budget back."""
    known = usage if isinstance(usage, Mapping) else {}
    details = known.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return JudgeUsage(
        prompt_tokens=_count(known.get("prompt_tokens")),
        cached_tokens=_count(cached),
        completion_tokens=_count(known.get("completion_tokens")),
    )


def _count(given: Any) -> int:
    return given if type(given) is int and 0 < given <= MOST_TOKENS else 0
