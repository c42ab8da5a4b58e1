"""What happens to a conversation that is longer than the model can read."""

from __future__ import annotations

from reward_server.errors import ContextLengthError
from reward_server.network.sequence import Rendered
from reward_server.schema import OnOverflow


def fit(
    rendered: Rendered, limit: int, on_overflow: OnOverflow, *, item: int, completion: int
) -> Rendered:
    """Return `rendered` within `limit` tokens, cutting the prompt's left side if allowed.

    Raises ContextLengthError when cutting is refused, or when the answer alone is too long; it
    names the prompt where that alone fills the limit.
    """
    if on_overflow == "refuse" and len(rendered.ids) > limit:
        if rendered.prompt_tokens >= limit:
            raise ContextLengthError(
                item, None, tokens=rendered.prompt_tokens, limit=limit, what="the prompt"
            )
        raise ContextLengthError(
            item, completion, tokens=len(rendered.ids), limit=limit, what="the conversation"
        )
    cut = rendered.within(limit)
    if cut is None:
        answer = len(rendered.ids) - max(rendered.prompt_tokens - rendered.fixed_tokens, 0)
        raise ContextLengthError(
            item, completion, tokens=answer, limit=limit, what="the answer alone"
        )
    return cut
