"""Reads a client's headers about caches of candidates."""

from __future__ import annotations

from collections.abc import Iterable

from bon_gateway.types import CacheUse


def cache_use(headers: Iterable[tuple[bytes, bytes]], key_name: str | None) -> CacheUse:
    """Reads ``cache-control`` of a request: ``no-store`` neither reads nor fills a cache,
    ``no-cache`` draws anew and keeps the new candidates. Other directives are ignored. Callers with
    different keys do not share candidates."""
    told = {
        directive.strip().lower()
        for name, value in headers
        if name == b"cache-control"
        for directive in value.split(b",")
    }
    store = b"no-store" not in told
    return CacheUse(key_name or "", read=store and b"no-cache" not in told, store=store)
