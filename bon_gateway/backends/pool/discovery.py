"""Follows a host name whose addresses change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from yarl import URL

from bon_gateway.backends.guard import guarded
from bon_gateway.backends.http.names import Address, LookUp

logger = logging.getLogger(__name__)


class Discovery:
    """Looks the host of one url up again and again. It calls ``found`` after each look-up that
    worked, even if nothing has changed or there is no address. Each change is logged once."""

    def __init__(
        self,
        url: str,
        look_up: LookUp,
        interval_s: float,
        found: Callable[[Collection[Address]], None],
    ) -> None:
        place = URL(url)
        assert place.raw_host is not None, "the settings want a host"
        assert place.port is not None, "http and https have a port of their own"
        self._host, self._port = place.raw_host, place.port
        self.name = place.host_port_subcomponent
        self._look_up = look_up
        self._interval_s = interval_s
        self._found = found
        self._addresses: frozenset[Address] | None = None
        self._trouble: str | None = None

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await guarded(self._ask(), f"Looking up {self.name}")
            await asyncio.sleep(self._interval_s)

    async def _ask(self) -> None:
        try:
            addresses = frozenset(await self._look_up(self._host, self._port))
        except OSError as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._trouble:
                logger.warning("Upstream %s cannot be looked up (%s)", self.name, trouble)
            self._trouble = trouble
            return
        if addresses != self._addresses or self._trouble is not None:
            told = ", ".join(sorted(address.host for address in addresses))
            level = logging.INFO if addresses else logging.WARNING
            logger.log(level, "Upstream %s is at: %s", self.name, told or "no address")
        self._addresses, self._trouble = addresses, None
        self._found(addresses)
