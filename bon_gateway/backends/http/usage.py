"""Token counts that a chat model reports for a call, if they are plausible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bon_gateway.judging import JudgeUsage

MOST_TOKENS = 1 << 31
"""No call takes more tokens. Larger counts are ignored: their sum might not fit into an answer, and
would use up a key's budget for good."""


def read_usage(usage: Any) -> JudgeUsage:
    """The tokens in the ``usage`` of a chat completion, without calls and abstentions. Anything
    that is not a valid count is 0: a negative one would refill a key's budget. No more tokens are
    cached than the prompt has."""
    known = usage if isinstance(usage, Mapping) else {}
    details = known.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    prompt_tokens = _count(known.get("prompt_tokens"))
    return JudgeUsage(
        prompt_tokens=prompt_tokens,
        cached_tokens=min(_count(cached), prompt_tokens),
        completion_tokens=_count(known.get("completion_tokens")),
    )


def _count(given: Any) -> int:
    return given if type(given) is int and 0 < given <= MOST_TOKENS else 0
