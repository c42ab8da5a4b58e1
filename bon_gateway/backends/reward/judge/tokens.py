"""The tokens of a judge's reply, found in its log-probabilities.

Servers write tokens in different ways. OpenAI and vLLM give the text and its ``bytes``; others give
the vocabulary's own form, in which a mark (``▁Q``, ``ĠQ``) stands for a space.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import msgspec

MOST_PLACES = 64
"""Number of places, from the end, at which to look for a reply's text among its tokens."""
SPACES = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n"})
"""Marks of white space in vocabularies: SentencePiece's, and those of byte-level ones."""
_NUMBERED = re.compile(r"token_id:\d+")
"""A token without its text, as vLLM writes it with ``--return-tokens-as-token-ids``."""


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


def tokens_of(text: str, entries: Sequence[Any]) -> Sequence[ReplyToken]:
    """The tokens that make up ``text``; none if they are not among ``entries``.

    Log-probabilities also cover the thinking, even if a parser has taken it out of the content, and
    tokens that end a turn. So the search for the text starts at the end.
    """
    if not text:
        return [ReplyToken(0, entry) for entry in entries]
    pieces = [_bytes_of(entry) for entry in entries]
    wanted = text.encode("utf-8", "surrogatepass")
    start = _start(pieces, wanted)
    if start < 0:
        pieces = [_spaced(piece) for piece in pieces]
        start = _start(pieces, wanted)
    if start < 0:
        return ()
    found, end = [], -start
    for entry, piece in zip(entries, pieces, strict=True):
        begins, end = end, end + len(piece)
        if end > 0 and begins < len(wanted):
            found.append(ReplyToken(end, entry))
    return found


def why_none(entries: Sequence[Any]) -> str:
    """Why ``tokens_of`` found none."""
    if not entries:
        return "it gives no log-probabilities of its verdict"
    if any(_NUMBERED.fullmatch(_text_of(entry) or "") for entry in entries):
        return (
            "its log-probabilities list tokens as numbers; start vLLM without"
            " --return-tokens-as-token-ids"
        )
    return "the tokens of its log-probabilities do not make up its reply"


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
        if not (_spaced(before).strip() or after.strip()):
            return place
        place = whole.rfind(wanted, 0, end - 1)
    return last


def _spaced(piece: bytes) -> bytes:
    """The piece with spaces in place of marks. A part of a character stays as it is."""
    return (
        piece.decode("utf-8", "surrogateescape")
        .translate(SPACES)
        .encode("utf-8", "surrogateescape")
    )


def _text_of(token: Any) -> str | None:
    text = token.get("token") if isinstance(token, Mapping) else None
    return text if isinstance(text, str) else None


def _bytes_of(token: Any) -> bytes:
    """A token may be a part of a character: then only ``bytes`` says which."""
    raw = token.get("bytes") if isinstance(token, Mapping) else None
    if isinstance(raw, list) and raw:
        try:
            return bytes(raw)
        except (TypeError, ValueError):
            pass
    return (_text_of(token) or "").encode("utf-8", "surrogatepass")


def _name(token: Any) -> str | None:
    """The text of a token, without white space around it; None for what is no token."""
    text = _text_of(token)
    if text is None:
        return None
    # A part of a character has no other name than its own.
    with suppress(UnicodeDecodeError):
        text = _bytes_of(token).decode("utf-8")
    return text.translate(SPACES).strip()


def _chances(entry: Any) -> Mapping[str, float]:
    """Leaves out log-probabilities that are not numbers, or above 0."""
    top = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
    likeliest: dict[str, tuple[str, float]] = {}
    # The token itself is also in the list if it is one of the likeliest.
    for other in [*(top if isinstance(top, list) else ()), entry]:
        name = _name(other)
        if name is None:
            continue
        logprob = other.get("logprob")
        if isinstance(logprob, float | int) and _sensible(logprob):
            likeliest.setdefault(other["token"], (name, math.exp(min(logprob, 0.0))))
    chances: dict[str, float] = {}
    for name, chance in likeliest.values():
        chances[name] = chances.get(name, 0.0) + chance
    return chances


def _sensible(number: float) -> bool:
    # A rounding error may lift a value a little above 0.
    return math.isfinite(number) and number < 1e-3
