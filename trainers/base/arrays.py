"""The entries of one JSON array, as `.json` files hold their records, one at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import IO, Any

CHUNK = 1 << 16


class Broken(ValueError):
    """The array cannot be read any further; the message says why."""


def array_entries(stream: IO[bytes], decoder: json.JSONDecoder, limit: int) -> Iterator[Any]:
    """Every entry of the array that begins at the next `[`. Raises Broken.

    No more than one entry, of at most `limit` bytes, is held beside what was read last.
    """
    text = _Text(stream, limit)
    text.expect("[")
    if text.skip() == "]":
        text.at += 1
    else:
        while True:
            yield text.value(decoder)
            if text.expect(",]") == "]":
                break
    if text.skip():
        raise Broken("something follows the JSON array")


class _Text:
    """Text that is read as it is needed."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._read: Callable[[int], bytes] = stream.read
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._limit = limit
        self._text = ""
        self._ended = False
        self.at = 0

    def skip(self) -> str:
        """The next character that is no white space, or nothing at the end."""
        while True:
            while self.at < len(self._text):
                if not self._text[self.at].isspace():
                    return self._text[self.at]
                self.at += 1
            if not self._more(CHUNK):
                return ""

    def expect(self, characters: str) -> str:
        """Take the next character, which is one of these."""
        found = self.skip()
        if not found:
            raise Broken("the JSON array ends in the middle")
        if found not in characters:
            raise Broken(f"broken JSON: {' or '.join(characters)} is expected")
        self.at += 1
        return found

    def value(self, decoder: json.JSONDecoder) -> Any:
        """Take the next value."""
        self.skip()
        size = CHUNK
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self.at)
            except json.JSONDecodeError as error:
                if len(self._text) - self.at > self._limit:
                    raise Broken(f"longer than {self._limit} bytes") from error
                # Twice as much each time, so that a long entry is not parsed again and again.
                size *= 2
                at_end = error.pos >= len(self._text)
                if not self._more(size):
                    what = "the JSON array ends in the middle"
                    raise Broken(what if at_end else f"broken JSON: {error.msg}") from error
            except ValueError as error:
                raise Broken(f"broken JSON: {error}") from error
            except RecursionError as error:
                raise Broken("broken JSON: nested too deeply") from error
            else:
                self.at = end
                return value

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        data = self._read(size)
        self._ended = not data
        try:
            self._text = self._text[self.at :] + self._decode.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise Broken("not UTF-8 text") from error
        self.at = 0
        return not self._ended
