"""Asks each replica of a pool once whether it could serve: for ``bon-gateway check``.

A replica comes up by the same questions. Their order is that in which things go wrong: is it there,
is it well, does it take the key, does it have the model, does it answer. The first failure is
reported. The running gateway asks again and again, and lets a replica serve in spite of a note.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson
from yarl import URL

from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.backends.http.names import Address, LookUp
from bon_gateway.backends.pool.replica import Replica

LONGEST_S = 120.0
_KEY_REFUSED = (401, 403)
_NO_LIST = (404, 405)


@dataclass(frozen=True, slots=True)
class UpstreamTrial:
    """``build`` and ``look_up`` are those of the pool, ``warm_up`` is its first real call."""

    urls: Sequence[str]
    build: Callable[[str, Address | None], Replica]
    warm_up: Callable[[Replica], Awaitable[None]]
    look_up: LookUp | None

    async def run(self, model: str | None) -> dict[str, str | None]:
        """What is wrong with each replica, by its name; None if nothing is."""
        found = await asyncio.gather(*(self._url(url, model) for url in self.urls))
        return {name: wrong for answers in found for name, wrong in answers.items()}

    async def _url(self, url: str, model: str | None) -> dict[str, str | None]:
        if self.look_up is None:
            return dict([await self._replica(self.build(url, None), model)])
        place = URL(url)
        host, port = place.raw_host, place.port
        assert host is not None and port is not None, "the settings want a host"  # noqa: PT018
        try:
            addresses = await self.look_up(host, port)
        except OSError as error:
            return {place.host_port_subcomponent or host: f"its name cannot be looked up: {error}"}
        if not addresses:
            return {place.host_port_subcomponent or host: "its name has no address"}
        replicas = [self.build(url, address) for address in sorted(set(addresses))]
        return dict(await asyncio.gather(*(self._replica(r, model) for r in replicas)))

    async def _replica(self, replica: Replica, model: str | None) -> tuple[str, str | None]:
        replica.client.open()
        try:
            async with asyncio.timeout(LONGEST_S):
                wrong = await self._ask(replica, model)
        except TimeoutError:
            wrong = f"it does not answer within {LONGEST_S:.0f} s"
        finally:
            await replica.client.close()
        return replica.name, wrong

    async def _ask(self, replica: Replica, model: str | None) -> str | None:
        try:
            await replica.client.get(replica.health)
        except UpstreamError as error:
            return f"health ({replica.health.path}): {_words(error)}"
        try:
            models = _ids(await replica.client.get(replica.models))
        except UpstreamError as error:
            if error.status not in _NO_LIST:
                return f"list of models: {_words(error)}"
            models = []
        if model is not None and models and model not in models:
            return f"it does not serve {model!r}, but: {', '.join(models)}"
        try:
            await self.warm_up(replica)
        except UpstreamError as error:
            return f"first call ({replica.call.path}): {_words(error)}"
        return replica.note


def _words(error: UpstreamError) -> str:
    if error.status in _KEY_REFUSED:
        return f"it refuses the key ({error.status}); see api_key_env"
    return " ".join(error.message.split())


def _ids(payload: bytes) -> list[str]:
    """The names in a list of models; empty if it is no such list."""
    try:
        listed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return []
    data = listed.get("data") if isinstance(listed, dict) else None
    entries = data if isinstance(data, list) else []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
