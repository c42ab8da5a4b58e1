"""Lifecycle methods of a backend that has nothing to start, watch or close itself."""

from __future__ import annotations


class PassiveBackend:
    """A ``Backend`` with nothing to run. A subclass says whether it is ready."""

    async def start(self) -> None:
        return None

    def health(self) -> dict[str, str]:
        return {}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None
