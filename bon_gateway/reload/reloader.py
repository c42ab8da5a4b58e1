"""Puts changed settings into force while requests are answered.

It looks at the settings file and the keys file again and again, and at once after a SIGHUP.
Settings that cannot be served are refused with the reason, and those in force stay. ``generations``
decides which settings are in force for a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from bon_common.keys import KeyRing
from bon_common.settings.errors import SettingsError
from bon_gateway.backends.guard import guarded
from bon_gateway.gateway import same_backends, wait_until
from bon_gateway.metrics import Metrics
from bon_gateway.reload.generations import Generation, Generations
from bon_gateway.reload.source import SettingsSource
from bon_gateway.sections.server import ServerSettings
from bon_gateway.settings import demo
from bon_gateway.settings.doubts import doubts
from bon_gateway.settings.tree import Settings

AT_RUNTIME = frozenset(
    {"access_log", "cors_origins", "keepalive_s", "log_level", "reload_interval_s"}
)
"""Settings of the server that a running process can change. The others are in sockets and
uvicorn."""
WARM_UP_S = 30.0
"""Seconds that new upstreams may take to come up before they get requests all the same."""

_log = logging.getLogger("bon_gateway.reload")

Make = Callable[[Settings, KeyRing, Generation], Generation]
"""Makes the generation after the given one. Raises SettingsError. Starts nothing."""


class Reloader:
    """Runs beside the requests. It calls ``tell`` with the settings that came into force."""

    def __init__(
        self,
        source: SettingsSource,
        environ: Mapping[str, str],
        generations: Generations,
        make: Make,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._environ = environ
        self._generations = generations
        self._make = make
        self._metrics = metrics
        self._asked = asyncio.Event()
        self.tell: Callable[[Settings], None] = _nobody

    def ask(self) -> None:
        """Reload soon, even if nothing has changed. Call it in the event loop's thread."""
        self._asked.set()

    async def run(self) -> None:
        """Runs until it is cancelled. It also finds what changed between the first reading of the
        settings and its own start."""
        taken = await self._digest()
        await guarded(self._reload(asked=False), "Reloading the settings")
        before = taken
        while True:
            asked = await self._wait(self._generations.current.settings.server.reload_interval_s)
            now = await self._digest()
            # A file that is still being written must not be read, so it must be the same twice.
            if asked or (now != taken and now == before):
                taken = now
                await guarded(self._reload(asked=asked), "Reloading the settings")
            before = now

    async def _digest(self) -> bytes:
        return await asyncio.to_thread(self._source.digest, self._generations.current.settings)

    async def _wait(self, interval_s: float) -> bool:
        """Whether a reload was asked for within the interval; 0 waits without end."""
        try:
            async with asyncio.timeout(interval_s or None):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _reload(self, *, asked: bool) -> None:
        before = self._generations.current
        try:
            read, keys = await asyncio.to_thread(self._source.read, self._environ)
            settings = runtime_settings(before.settings, read)
            check_change(before, settings, keys)
            if settings == before.settings and keys == before.keys:
                after = before
            else:
                after = self._make(settings, keys, before)
        except SettingsError as error:
            self._metrics.reloaded(successful=False)
            _log.error("the settings are refused; those before stay: %s", error)
            return
        fixed = ", ".join(f"server.{key}" for key in fixed_changes(before.settings, read))
        if fixed:
            _log.warning("changed, but only a restart can change it: %s", fixed)
        if after is not before:
            await _start(before, after)
            self._generations.replace(after)
            _log.info("the settings are reloaded", extra={"fields": _described(before, after)})
            known = doubts(before.settings)
            for doubt in doubts(after.settings):
                if doubt not in known:
                    _log.warning("%s", doubt)
        elif asked:
            _log.info("the settings have not changed")
        self._metrics.reloaded(successful=True)
        self.tell(settings)


def _nobody(_: Settings) -> None:
    return None


def fixed_changes(before: Settings, after: Settings) -> list[str]:
    """Keys of the server section that differ and that a running process cannot change."""
    return [
        key
        for key in ServerSettings.model_fields
        if key not in AT_RUNTIME and getattr(before.server, key) != getattr(after.server, key)
    ]


def runtime_settings(before: Settings, after: Settings) -> Settings:
    """``after``, but with the old values where only a restart can change them."""
    kept = {key: getattr(before.server, key) for key in fixed_changes(before, after)}
    return after.model_copy(update={"server": after.server.model_copy(update=kept)})


def check_change(before: Generation, settings: Settings, keys: KeyRing) -> None:
    """Raises SettingsError for settings with which a start would work but a reload must not."""
    if keys.open and not before.keys.open:
        reason = "no API key is left; only a restart opens the gateway to everybody"
        raise SettingsError("settings", "auth", reason)
    if demo.in_use(settings) and not demo.in_use(before.settings):
        # The file was probably emptied by accident, or is not written yet.
        reason = "no model is left; only a restart changes to the demo models"
        raise SettingsError("settings", "models", reason)


async def _start(before: Generation, after: Generation) -> None:
    """Start what is new in ``after`` and give it time to warm up, so that no request meets an
    upstream that is not up yet."""
    known = {id(part) for part in before.gateway.starting}
    starting = [part for part in after.gateway.starting if id(part) not in known]
    new = [backend for backend in after.gateway.backends.values() if id(backend) not in known]
    recorder = None if after.recorder is before.recorder else after.recorder
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in starting:
                tasks.create_task(part.start())
        if not await wait_until(lambda: all(backend.ready() for backend in new), WARM_UP_S):
            _log.warning("new upstreams are not up yet; they get requests all the same")
    except BaseException:
        # Nobody else would close them.
        for part in starting:
            await part.close()
        raise
    if recorder is not None:
        recorder.start()


def _described(before: Generation, after: Generation) -> dict[str, object]:
    """The names of what changed."""
    old, new = before.settings.models, after.settings.models
    kept = same_backends(before.settings, after.settings)
    return {
        "keys_changed": before.keys != after.keys,
        "models_added": sorted(set(new) - set(old)),
        "models_removed": sorted(set(old) - set(new)),
        "models_changed": sorted(name for name in set(old) & set(new) if old[name] != new[name]),
        "backends_new": [
            name
            for name in (*after.settings.backends, *after.settings.composed)
            if name not in kept
        ],
    }
