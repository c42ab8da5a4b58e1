"""Hands out a candidate's tokens, logprobs and ids with its text, piece by piece.

If the tokens spell the text, each piece comes with the tokens that spell it, as vLLM streams it. A
parser may have removed some tokens from the text (``<think>``, the markup of a tool call, the end
token): they come with the next piece, or after all text. If the tokens do not spell the text, both
are handed out side by side. In both cases a client that joins the pieces has every token once and
in order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import orjson

# Together the three parts of one piece stay below 16 KiB.
PIECE_CHARS = 1024
"""Characters of a text in one piece: at most six bytes each in JSON."""
PIECE_BYTES = 6 * 1024
"""Bytes of logprobs in one piece, unless those of a single token are longer."""
PIECE_IDS = 256


class TokenFeed:
    def __init__(self, logprobs: Mapping[str, Any] | None, ids: list[Any]) -> None:
        content = (logprobs or {}).get("content")
        entries = content if isinstance(content, list) else []
        self._beside = dict(logprobs or {})
        """The other fields of the logprobs; all of them if there are no tokens."""
        if entries:
            del self._beside["content"]
        self._entries = [orjson.dumps(entry) for entry in entries]
        self._spelt = b"".join(map(_bytes_of, entries))
        self._ends = list(accumulate(len(_bytes_of(entry)) for entry in entries))
        """Where each token ends in ``_spelt``."""
        self._ids = ids
        self._told = 0
        self._told_ids = 0
        self._found = 0
        """Where the last text that was found ends in ``_spelt``."""

    @property
    def left(self) -> bool:
        """Whether some tokens have not been handed out."""
        return (
            self._told < len(self._entries) or self._told_ids < len(self._ids) or bool(self._beside)
        )

    def cut(self, text: str) -> Iterator[tuple[str, int]]:
        """The pieces of ``text``, each with the number of tokens to take before the next one."""
        data = text.encode("utf-8", "surrogatepass")
        start = self._spelt.find(data, self._found) if self._spelt else -1
        if start < 0:
            for place in range(0, len(text), PIECE_CHARS):
                yield text[place : place + PIECE_CHARS], self.some()
            return
        begin, stop = 0, len(data)
        last = bisect_left(self._ends, start + stop)
        while begin < stop:
            # Tokens after the text's last token belong to what follows the text.
            tokens = min(self.some(), last + 1 - self._told)
            spelt = self._reach(tokens) - start
            # A token may end inside a character. The next piece then gets the whole character. If
            # nothing would be left for this piece, it takes the tokens that complete the character.
            while _whole(data, spelt) <= begin < spelt < stop:
                tokens += 1
                spelt = self._reach(tokens) - start
            end = max(begin, _whole(data, spelt))
            yield data[begin:end].decode("utf-8", "surrogatepass"), tokens
            begin = end
        self._found = start + stop

    def _reach(self, tokens: int) -> int:
        """Where the next ``tokens`` end in ``_spelt``."""
        return self._ends[self._told + tokens - 1]

    def some(self) -> int:
        """Number of next tokens that make up one piece; 0 if there are no logprobs."""
        size, end = 0, self._told
        while end < len(self._entries):
            size += len(self._entries[end])
            if size > PIECE_BYTES and end > self._told:
                break
            end += 1
        return end - self._told

    def take(self, tokens: int) -> dict[str, Any]:
        """Fields of a chunk's choice for the next ``tokens``, with their ids if ids were asked for.
        If not every token has both, ids are handed out on their own."""
        fields: dict[str, Any] = {}
        if tokens or self._beside:
            entries = b",".join(self._entries[self._told : self._told + tokens])
            content = {"content": orjson.Fragment(b"[" + entries + b"]")} if tokens else {}
            fields["logprobs"] = content | self._beside
            self._beside = {}
            self._told += tokens
        if self._told_ids < len(self._ids):
            both = len(self._ids) == len(self._entries)
            end = self._told if both else self._told_ids + PIECE_IDS
            fields["token_ids"] = self._ids[self._told_ids : end]
            self._told_ids = min(end, len(self._ids))
        return fields


def _whole(data: bytes, end: int) -> int:
    """The last place up to ``end`` that cuts no UTF-8 character."""
    end = min(end, len(data))
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _bytes_of(entry: Any) -> bytes:
    """The bytes of one token; empty if the entry does not say them."""
    if not isinstance(entry, dict):
        return b""
    spelt, token = entry.get("bytes"), entry.get("token")
    try:
        if isinstance(spelt, list):
            return bytes(spelt)
    except (TypeError, ValueError):
        pass
    return token.encode("utf-8", "surrogatepass") if isinstance(token, str) else b""
