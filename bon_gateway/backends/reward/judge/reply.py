"""A judge's reply: its text after the thinking, and the chances of the tokens in that text."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from bon_gateway.thinking import ThinkingSettings, after_thinking

CUT = ("abort", "content_filter")
"""Finish reasons of a reply that is no verdict. A reply may end by ``length``: a verdict of one
token does."""

LONGEST = 262_144
"""Characters of a text in which a verdict is looked for, after the thinking. A longer one is no
verdict, and looking through it would hold up other requests."""

MOST_PLACES = 64
"""Places at which a reply's text is looked for among its tokens, from the end."""


class ReplyToken(msgspec.Struct, frozen=True):
    end: int
    """Where it ends in the reply's text, in bytes of UTF-8."""
    entry: Any
    """What the judge said of it."""

    @property
    def chances(self) -> Mapping[str, float]:
        """Probabilities of the likeliest tokens at its place, itself among them, by their texts.
        Tokens that differ only in white space around them count as one. Of a long reply only one
        token's are read."""
        return _chances(self.entry)


class Reply(msgspec.Struct, frozen=True):
    text: str
    """What stands after the thinking, without white space around it. It may be empty if the reply
    is a single token: what might have stood in its place is known all the same."""
    tokens: Sequence[ReplyToken] = ()
    """The tokens of ``text``; empty if the judge gave no log-probabilities for it."""

    def token_at(self, place: int) -> ReplyToken:
        """The token with the character at ``place`` of the text. There must be tokens."""
        wanted = len(self.text[:place].encode("utf-8", "surrogatepass"))
        return next((token for token in self.tokens if token.end > wanted), self.tokens[-1])


def read_reply(answer: Mapping[str, Any], thinking: ThinkingSettings | None) -> Reply | None:
    """The first choice of a chat completion; None if there is no text to read: a refusal, a tool
    call, thinking that has not ended."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return None
    content = message.get("content")
    if not isinstance(content, str) or choice.get("finish_reason") in CUT:
        return None
    text = after_thinking(content, thinking)
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    entries = entries if isinstance(entries, list) else []
    if text is None or len(text) > LONGEST or not (text.strip() or len(entries) == 1):
        return None
    return Reply(text.strip(), _tokens_of(text.strip(), entries))


def _tokens_of(text: str, entries: list[Any]) -> Sequence[ReplyToken]:
    """The tokens that make up ``text``.

    Log-probabilities cover the thinking too, even if a parser has taken it out of the content, and
    tokens that end a turn. So the text is looked for from the end.
    """
    if not text:
        return [ReplyToken(0, entry) for entry in entries]
    pieces = [_bytes_of(entry) for entry in entries]
    wanted = text.encode("utf-8", "surrogatepass")
    start = _start(pieces, wanted)
    if start < 0:
        return ()
    found, end = [], -start
    for entry, piece in zip(entries, pieces, strict=True):
        begins, end = end, end + len(piece)
        if end > 0 and begins < len(wanted):
            found.append(ReplyToken(end, entry))
    return found


def _start(pieces: Sequence[bytes], wanted: bytes) -> int:
    """Where the last ``wanted`` begins in all ``pieces`` together; -1 if it is not there.

    One that fills its pieces, but for white space, goes first: a verdict of one letter also stands
    inside the name of a token that ends the turn.
    """
    whole = b"".join(pieces)
    begins = [0, *accumulate(map(len, pieces))]
    last = place = whole.rfind(wanted)
    for _ in range(MOST_PLACES):
        if place < 0:
            break
        end = place + len(wanted)
        before = whole[begins[bisect_right(begins, place) - 1] : place]
        after = whole[end : begins[bisect_left(begins, end)]]
        if not (before.strip() or after.strip()):
            return place
        place = whole.rfind(wanted, 0, end - 1)
    return last


def _bytes_of(entry: Any) -> bytes:
    """A token may be a part of a character: then only ``bytes`` says which."""
    if not isinstance(entry, Mapping):
        return b""
    raw, token = entry.get("bytes"), entry.get("token")
    if isinstance(raw, list):
        try:
            return bytes(raw)
        except (TypeError, ValueError):
            pass
    return token.encode("utf-8", "surrogatepass") if isinstance(token, str) else b""


def _chances(entry: Any) -> Mapping[str, float]:
    """Log-probabilities that are not numbers, or above 0, are left out: they say nothing."""
    top = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
    likeliest: dict[str, float] = {}
    # The token itself is listed among the likeliest ones too, if it is one of them.
    for other in [*(top if isinstance(top, list) else ()), entry]:
        token = other.get("token") if isinstance(other, Mapping) else None
        logprob = other.get("logprob") if isinstance(other, Mapping) else None
        if isinstance(token, str) and isinstance(logprob, float | int) and _sensible(logprob):
            likeliest.setdefault(token, math.exp(min(logprob, 0.0)))
    chances: dict[str, float] = {}
    for token, chance in likeliest.items():
        name = token.strip()
        chances[name] = chances.get(name, 0.0) + chance
    return chances


def _sensible(number: float) -> bool:
    # A rounding error may take one a little above 0.
    return math.isfinite(number) and number < 1e-3
