"""From a growing list of token ids to text, cut at a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

REPLACEMENT = "\ufffd"
"""What a decoder writes for bytes that are not a complete character (yet)."""


class Detokenizer:
    """Decodes token by token. The pieces that it returns, joined, are the decoding of all tokens.

    A tokenizer decodes a token differently at the start of a text (leading spaces), and a character
    may span several tokens. So each decoding starts at tokens whose text has already been returned,
    and text is held back while it ends in an incomplete character.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._context = 0
        """First token of the window that is decoded."""
        self._out = 0
        """First token whose text has not been returned."""
        self._known = ""
        """Text of the tokens from ``_context`` up to ``_out``."""

    def push(self, token: int) -> str:
        """The text that ``token`` completes; empty if its last character is incomplete."""
        self._ids.append(token)
        window = self._decode(self._ids[self._context :])
        if len(window) <= len(self._known) or window.endswith(REPLACEMENT):
            return ""
        fresh = window[len(self._known) :]
        self._context, self._out = self._out, len(self._ids)
        self._known = self._decode(self._ids[self._context : self._out])
        return fresh

    def flush(self) -> str:
        """The text that was held back, after the last token."""
        if self._out == len(self._ids):
            return ""
        return self._decode(self._ids[self._context :])[len(self._known) :]


class TextStream:
    """The text of one candidate as it grows, ended by the first stop string."""

    def __init__(
        self, decode: Decode, stops: Sequence[str], *, include_stop: bool, min_tokens: int
    ) -> None:
        self.text = ""
        """Everything decoded so far, cut where a stop string matched."""
        self.stopped_by: str | None = None
        self._detokenizer = Detokenizer(decode)
        self._stops = stops
        self._include_stop = include_stop
        self._unchecked = min_tokens
        """Number of next tokens in which stop strings do not count yet."""
        self._released = 0

    def push(self, token: int) -> str:
        """Add a token. Returns the text that no stop string can cut away any more."""
        searched = len(self.text)
        self.text += self._detokenizer.push(token)
        if self._unchecked > 0:
            self._unchecked -= 1
        elif self._stops:
            self._cut(searched)
        return self._release(0 if self.stopped_by else self._held())

    def finish(self) -> str:
        """The rest of the text, after the last token."""
        if self.stopped_by is None:
            self.text += self._detokenizer.flush()
        return self._release(0)

    def _cut(self, searched: int) -> None:
        """End the text at the first stop string that ends after ``searched``. Of two that end at
        the same place, the one that the client gave first counts."""
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = self.text.find(stop, max(0, searched - len(stop) + 1))
            if start >= 0 and (best is None or start + len(stop) < best[1]):
                best = (start, start + len(stop), stop)
        if best is not None:
            start, end, self.stopped_by = best
            self.text = self.text[: end if self._include_stop else start]

    def _held(self) -> int:
        """Length of the longest end of the text that may become a stop string."""
        if self._include_stop:
            return 0
        return max((_overlap(self.text, stop) for stop in self._stops), default=0)

    def _release(self, held: int) -> str:
        end = max(len(self.text) - held, self._released)
        fresh = self.text[self._released : end]
        self._released = end
        return fresh


def _overlap(text: str, stop: str) -> int:
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
