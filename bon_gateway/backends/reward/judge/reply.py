"""A judge's reply: its text after the thinking, and the probabilities of its tokens."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from bon_gateway.thinking import ThinkingSettings, after_thinking

CUT = ("abort", "content_filter")
"""Finish reasons of a reply without a verdict. ``length`` is not one: a verdict of one token ends
so."""

LONGEST = 262_144
"""Longest text after the thinking, in characters, that is searched for a verdict. A longer one has
no verdict, and the search would hold up other requests."""

MOST_PLACES = 64
"""Number of places, from the end, at which to look for a reply's text among its tokens."""


class ReplyToken(msgspec.Struct, frozen=True):
    end: int
    """End of the token in the reply's text, in bytes of UTF-8."""
    entry: Any
    """The judge's entry for this token."""

    @property
    def chances(self) -> Mapping[str, float]:
        """Probabilities of the likeliest tokens at this place, this one included, by their texts.
        Tokens that differ only in white space around them count as one. It is computed on demand,
        because a long reply needs only one token's."""
        return _chances(self.entry)


class Reply(msgspec.Struct, frozen=True):
    text: str
    """Text after the thinking, without white space around it. It may be empty if the reply is a
    single token; the probabilities of other tokens at its place are still known."""
    tokens: Sequence[ReplyToken] = ()
    """The tokens of ``text``; empty if the judge gave no log-probabilities for it."""

    def token_at(self, place: int) -> ReplyToken:
        """The token that holds the character at ``place`` of the text. Needs tokens."""
        wanted = len(self.text[:place].encode("utf-8", "surrogatepass"))
        return next((token for token in self.tokens if token.end > wanted), self.tokens[-1])


def read_reply(answer: Mapping[str, Any], thinking: ThinkingSettings | None) -> Reply | None:
    """The first choice of a chat completion; None if it has no text to read: a refusal, a tool
    call, or unfinished thinking."""
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

    Log-probabilities also cover the thinking, even if a parser has taken it out of the content, and
    tokens that end a turn. So the search for the text starts at the end.
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
    """Start of the last ``wanted`` in all ``pieces`` together; -1 if it is not there.

    A match that fills its pieces, except for white space, goes first: the name of a token that ends
    the turn may also contain the verdict's letter.
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
    """Leaves out log-probabilities that are not numbers, or above 0."""
    top = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
    likeliest: dict[str, float] = {}
    # The token itself is also in the list if it is one of the likeliest.
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
    # A rounding error may lift a value a little above 0.
    return math.isfinite(number) and number < 1e-3
