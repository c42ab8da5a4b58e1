"""The server's caps on one request, checked before anything reaches a policy.

Some values kill an engine instead of failing one request: top_logprobs beyond the vocabulary.
Others spoil the answers to other clients: logprob_token_ids.
"""

from __future__ import annotations

import msgspec

from bon_gateway.api.schema import ChatWire
from bon_gateway.errors import BadRequestError
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.types import ChatRequest

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""The names of one limit."""


def check_limits(wire: ChatWire, limits: LimitsSettings) -> None:
    """Raises BadRequestError naming the parameter that is above its cap."""
    for name in ("top_logprobs", "prompt_logprobs"):
        _within(name, getattr(wire, name), limits.max_top_logprobs)
    if wire.logprob_token_ids and not limits.logprob_token_ids:
        raise BadRequestError.at("logprob_token_ids", "is not allowed by this gateway's limits")
    for name in TOKEN_LIMITS:
        _within(name, getattr(wire, name), limits.max_tokens)


def within_budget(request: ChatRequest, most: int, limits: LimitsSettings) -> ChatRequest:
    """``request``, which draws ``most`` candidates at the most, with ``max_tokens`` such that all
    together stay within ``limits.max_tokens_per_request``. Raises BadRequestError if it asks for
    more, or if its candidates are more than the tokens."""
    budget = limits.max_tokens_per_request
    if budget is None:
        return request
    share = budget // most
    if share < 1:
        raise BadRequestError.at(
            "bon", f"{most} candidates are above the limit of {budget} tokens for one request"
        )
    for name in TOKEN_LIMITS:
        asked = request.sampling.get(name)
        if asked is not None and asked > share:
            raise BadRequestError.at(
                name, f"{most} candidates of {asked} tokens are above the limit of {budget} tokens"
                f" for one request; each may have {share}",
            )  # fmt: skip
    if most_tokens(request, most):
        return request
    sampling = {**request.sampling, "max_tokens": share}
    return msgspec.structs.replace(request, sampling=sampling)


def most_tokens(request: ChatRequest, most: int) -> int:
    """The most tokens that ``most`` candidates may generate together; 0 if nothing limits them."""
    asked = [value for n in TOKEN_LIMITS if (value := request.sampling.get(n)) is not None]
    # A policy takes the newer name, or both: the larger one is safe.
    return most * max(asked, default=0)


def _within(name: str, value: int | None, limit: int | None) -> None:
    if value is not None and limit is not None and value > limit:
        raise BadRequestError.at(name, f"{value} is above the limit of {limit}")
