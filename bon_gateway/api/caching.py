"""What a client's headers say about caches of candidates."""

from __future__ import annotations

from collections.abc import Iterable

from bon_gateway.types import CacheUse


def cache_use(headers: Iterable[tuple[bytes, bytes]], key_name: str | None) -> CacheUse:
    """Reads ``cache-control``, as a request's: ``no-store`` neither takes candidates from a cache
    nor leaves any there, ``no-cache`` draws anew and leaves what it drew. Other directives mean
    nothing here. Callers with different keys get nothing of each other's."""
    told = {
        directive.strip().lower()
        for name, value in headers
        if name == b"cache-control"
        for directive in value.split(b",")
    }
    store = b"no-store" not in told
    return CacheUse(key_name or "", read=store and b"no-cache" not in told, store=store)
