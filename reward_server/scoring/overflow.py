"""What happens to a conversation that is longer than the model can read."""

from __future__ import annotations

from dataclasses import replace

from reward_server.errors import ContextLengthError
from reward_server.network.sequence import Rendered
from reward_server.schema import OnOverflow


def fit(
    rendered: Rendered, limit: int, on_overflow: OnOverflow, *, item: int, completion: int
) -> Rendered:
    """Return `rendered` within `limit` tokens, cutting the prompt's left side if allowed.

    The leading special tokens stay, and the answer is never cut: each candidate loses only as
    much prompt as its own answer needs, so its reward does not depend on its neighbours.
    Raises ContextLengthError when cutting is refused, or when the answer alone is too long; it
    names the prompt where that alone fills the limit.
    """
    excess = len(rendered.ids) - limit
    if excess <= 0:
        return rendered
    if on_overflow == "refuse":
        if rendered.prompt_tokens >= limit:
            raise ContextLengthError(
                item, None, tokens=rendered.prompt_tokens, limit=limit, what="the prompt"
            )
        raise ContextLengthError(
            item, completion, tokens=len(rendered.ids), limit=limit, what="the conversation"
        )
    start = rendered.fixed_tokens
    if excess > rendered.prompt_tokens - start:
        answer = len(rendered.ids) - max(rendered.prompt_tokens - start, 0)
        raise ContextLengthError(
            item, completion, tokens=answer, limit=limit, what="the answer alone"
        )
    types = rendered.token_types
    return replace(
        rendered,
        ids=rendered.ids[:start] + rendered.ids[start + excess :],
        prompt_tokens=rendered.prompt_tokens - excess,
        token_types=None if types is None else types[:start] + types[start + excess :],
        truncated=True,
    )
