"""The server's caps on one request, checked before anything reaches a policy.

Some values kill an engine instead of failing one request: top_logprobs beyond the vocabulary.
Others spoil the answers to other clients: logprob_token_ids.
"""

from __future__ import annotations

from bon_gateway.api.schema import ChatWire
from bon_gateway.errors import BadRequestError
from bon_gateway.sections.server import LimitsSettings


def check_limits(wire: ChatWire, limits: LimitsSettings) -> None:
    """Raises BadRequestError naming the parameter that is above its cap."""
    for name in ("top_logprobs", "prompt_logprobs"):
        _within(name, getattr(wire, name), limits.max_top_logprobs)
    if wire.logprob_token_ids and not limits.logprob_token_ids:
        raise BadRequestError.at("logprob_token_ids", "is not allowed by this gateway's limits")
    for name in ("max_tokens", "max_completion_tokens"):
        _within(name, getattr(wire, name), limits.max_tokens)


def _within(name: str, value: int | None, limit: int | None) -> None:
    if value is not None and limit is not None and value > limit:
        raise BadRequestError.at(name, f"{value} is above the limit of {limit}")
