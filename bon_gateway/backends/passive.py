"""The life of a backend that has nothing of its own to start, watch or close."""

from __future__ import annotations


class PassiveBackend:
    """What such a backend answers as a ``Backend``. A subclass says whether it is ready."""

    async def start(self) -> None:
        return None

    def health(self) -> dict[str, str]:
        return {}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None
