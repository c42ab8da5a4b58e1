"""Cuts a whole candidate into the choices of a stream's chunks.

The winner is complete before its first chunk goes out. One chunk with all of it could be a line of
any length, and readers have limits (aiohttp's is 128 KiB a line). So texts, logprobs and token ids
come in pieces. Each piece is a delta of its own, reasoning first, then content, then tool calls,
because some clients read one field of a delta and drop the rest. Put together, the pieces are the
candidate again. What cannot be cut, such as a part that is not text, stays in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bon_gateway.api.tokens import PIECE_CHARS, TokenFeed
from bon_gateway.types import Completion, Message

TEXTS = ("reasoning", "reasoning_content", "content", "refusal")
"""Texts of a message in the order in which they are streamed."""

Choice = dict[str, Any]


def winner_choices(completion: Completion, index: int) -> Iterator[Choice]:
    """The choices of ``index``, one for each chunk: the role first, the finish reason last."""
    extra = dict(completion.extra)
    ids = extra.pop("token_ids") if isinstance(extra.get("token_ids"), list) else []
    feed = TokenFeed(completion.logprobs, ids)
    message = completion.message
    yield _choice(index, _opening(message))
    for name in TEXTS:
        text = message.get(name)
        if isinstance(text, str):
            for piece, tokens in feed.cut(text):
                yield _choice(index, {name: piece}, feed.take(tokens))
    for delta in _rest(message):
        yield _choice(index, delta, feed.take(feed.some()))
    while feed.left:
        yield _choice(index, {}, feed.take(feed.some()))
    # A whole answer has several fields that are null. Of these a stream has only the stop reason.
    told = {k: v for k, v in extra.items() if v is not None or k == "stop_reason"}
    yield _choice(index, {}, {"finish_reason": completion.finish_reason, **told})


def _choice(index: int, delta: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Choice:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    return choice if more is None else {**choice, **more}


def _opening(message: Message) -> dict[str, Any]:
    """The role and the empty texts, which no later piece would mention."""
    opening: dict[str, Any] = {name: "" for name in TEXTS if message.get(name) == ""}
    content = None if message.get("content") is None else ""
    return {"role": message.get("role") or "assistant", "content": content, **opening}


def _rest(message: Message) -> Iterator[dict[str, Any]]:
    """The fields that are not text, then the tool calls."""
    for name, value in message.items():
        if value is None or name in ("role", "tool_calls"):
            continue
        if name not in TEXTS or not isinstance(value, str):
            yield {name: value}
    for place, call in enumerate(message.get("tool_calls") or ()):
        for piece in _call_pieces(place, call):
            yield {"tool_calls": [piece]}


def _call_pieces(place: int, call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str) or len(arguments) <= PIECE_CHARS:
        yield {"index": place, **call}
        return
    first = {**function, "arguments": arguments[:PIECE_CHARS]}
    yield {"index": place, **call, "function": first}
    for start in range(PIECE_CHARS, len(arguments), PIECE_CHARS):
        piece = arguments[start : start + PIECE_CHARS]
        yield {"index": place, "function": {"arguments": piece}}
