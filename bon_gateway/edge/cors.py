"""Which web pages may call the gateway from a browser.

Before a page of another origin may send JSON or a key, its browser asks (the preflight). The
browser shows the page only answers that name its origin. Without configured origins every page is
kept out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

METHODS = b"GET, HEAD, POST"
EXPOSED = (
    b"x-request-id, x-bon-strategy, x-bon-n, x-bon-reward, x-bon-confidence, x-bon-overhead-ms,"
    b" x-bon-degraded, retry-after,"
    b" x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests,"
    b" x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
"""Headers that a page may read. They are listed because ``*`` has no effect with credentials."""
MAX_AGE_S = 600

_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")

Headers = list[tuple[bytes, bytes]]


class Cors:
    """Answers for the origins of ``server.cors_origins``."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.lower().encode("ascii", "ignore") for origin in origins)

    @property
    def enabled(self) -> bool:
        return bool(self._origins)

    def headers(self, origin: bytes | None) -> Headers:
        """Headers of a response to a request from ``origin``."""
        # A cache must not show one origin the answer that was made for another.
        headers = [] if self._all else [(b"vary", b"Origin")]
        if origin is None or not self._allows(origin):
            return headers
        return [
            *headers,
            (b"access-control-allow-origin", b"*" if self._all else origin),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, origin: bytes | None, asked_headers: bytes) -> Headers | None:
        """Headers of the answer to a preflight; None if the origin is not allowed. The page may
        send any headers that it asks for: the gateway reads few and trusts none."""
        if origin is None or not self._allows(origin):
            return None
        headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
        ]
        if _HEADER_NAMES.fullmatch(asked_headers):
            headers.append((b"access-control-allow-headers", asked_headers))
        return headers

    def _allows(self, origin: bytes) -> bool:
        return self._all or origin.lower() in self._origins
