"""Server-sent events: from bytes as they arrive to the data of each event.

It reads all that the specification allows: a byte order mark, lines that end with LF, CR or CRLF,
comments, several ``data`` lines in one event. It does not look into the data.
"""

from __future__ import annotations

from bon_gateway.backends.http.connection import UnusableAnswerError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Parses one stream. An event, or a line, of more than ``max_bytes`` is an error."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest: list[bytes] = []
        """Pieces of a line that has not ended. They are joined only once, at its end."""
        self._data: list[bytes] = []
        """Data lines of the event that has not ended."""
        self._held = 0
        self._after_cr = False
        """Whether a line feed that comes next belongs to the CR before it."""
        self._first = True

    def feed(self, block: bytes) -> list[bytes]:
        """The data of each event that ``block`` completes. Raises UnusableAnswerError."""
        if self._after_cr and block:
            block = block.removeprefix(b"\n")
            self._after_cr = False
        if not block:
            return []
        # For bytes, splitlines splits at LF, CR and CRLF only.
        lines = block.splitlines()
        if self._rest:
            self._rest.append(lines[0])
            if len(lines) > 1 or block[-1:] in b"\r\n":
                lines[0] = b"".join(self._rest)
                self._held -= sum(map(len, self._rest[:-1]))
                self._rest = []
            else:
                lines = []
                self._hold(len(block))
        if lines and block[-1:] not in b"\r\n":
            self._rest = [lines.pop()]
            self._hold(len(self._rest[0]))
        self._after_cr = block[-1:] == b"\r"
        return self._take(lines)

    def end(self) -> list[bytes]:
        """The data of an event that the end of the stream completes."""
        return self._take([b"".join(self._rest), b""])

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._max_bytes:
            raise UnusableAnswerError(f"an event of it is larger than {self._max_bytes} bytes")

    def _take(self, lines: list[bytes]) -> list[bytes]:
        if self._first and lines:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
            self._first = False
        events: list[bytes] = []
        for line in lines:
            if not line:
                # An event without data is none.
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    self._data = []
                    if data:
                        events.append(data)
                self._held = sum(map(len, self._rest))
            elif line[:5] == b"data:":
                data = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(data)
                self._hold(len(data))
        return events
