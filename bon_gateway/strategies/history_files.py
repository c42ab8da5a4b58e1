"""The files of a served model's history: ``rewards-<model>-<time>-<process>.json`` in one folder.

Every process writes a file of its own and reads those of all at its start. So no two write the same
file, and what one has seen counts once. Files of processes that are gone are read until newer ones
take their place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bon_common.publish import flush
from bon_common.selection.pruning.probes import WINDOW as PROBES
from bon_common.selection.pruning.probes import Probe
from bon_common.settings.errors import SettingsError
from bon_gateway.strategies.history import WINDOW, PastRequest, PastTraffic

VERSION = 2
KEEP = 16
"""Newest files of a served model that are read; older ones are removed."""
MOST_BYTES = 1 << 20
"""A larger file was not written here."""

_log = logging.getLogger(__name__)


class ModelIdentity(msgspec.Struct, frozen=True):
    """Whose rewards they are. ``model``, ``policy`` and ``reward`` are names in the settings."""

    model: str
    policy: str
    policy_revision: str | None
    reward: str


class HistoryFile(msgspec.Struct, frozen=True):
    version: int
    of: ModelIdentity
    requests: Sequence[PastRequest]
    probes: Sequence[Probe] = ()
    """Files of version 1 may lack them, and a gateway that does not know them reads the rest."""


def prepare_folder(folder: str) -> None:
    """Make the folder if need be and try to write to it. Raises SettingsError.

    A full disk is no error, because it may have room later.
    """
    probe = Path(folder) / f"rewards-probe-{os.getpid()}"
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        reason = f"cannot be written to: {error.strerror}"
        raise SettingsError("settings", "history.folder", f"{folder}: {reason}") from None


class ModelFiles:
    """The ``HistoryFiles`` of one served model. Used by one thread at a time."""

    def __init__(self, folder: Path, identity: ModelIdentity) -> None:
        self._folder = folder
        self._identity = identity
        # A name in the settings may hold any character, so the file's name has its digest.
        digest = hashlib.sha256(identity.model.encode()).hexdigest()[:16]
        self._prefix = f"rewards-{digest}-"
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        # The process id is not enough: containers may share a volume, and each runs as process 1.
        own = f"{self._prefix}{started}-{os.getpid()}{os.urandom(3).hex()}.json"
        self._path = folder / own

    def read(self) -> PastTraffic:
        requests: list[PastRequest] = []
        probes: list[Probe] = []
        newest = sorted(self._folder.glob(f"{self._prefix}*.json"), key=_written, reverse=True)
        for path in newest[:KEEP]:
            try:
                file = self._file(path)
                requests += file.requests
                probes += file.probes
            except (OSError, ValueError, RecursionError) as error:
                _log.warning("%s is left out of the history of rewards: %s", path.name, error)
        for path in newest[KEEP:]:
            with contextlib.suppress(OSError):
                path.unlink()
        return PastTraffic(
            sorted(requests, key=lambda request: request.at)[-WINDOW:],
            sorted(probes, key=lambda probe: probe.at)[-PROBES:],
        )

    def write(self, traffic: PastTraffic) -> None:
        content = msgspec.json.encode(
            HistoryFile(VERSION, self._identity, traffic.requests, traffic.probes)
        )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._path.with_suffix(".part")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # After a power cut a name must not stand for an empty file.
        flush(partial)
        partial.replace(self._path)

    def _file(self, path: Path) -> HistoryFile:
        """Raises OSError, RecursionError for a file of nested lists, and ValueError with the reason
        if the file is not of use here."""
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Versioned).version
        if version != VERSION:
            raise ValueError(f"it has version {version}, and this gateway reads {VERSION}")
        file = msgspec.json.decode(content, type=HistoryFile)
        if file.of != self._identity:
            raise ValueError(f"it is of {_named(file.of)}, and here it is {_named(self._identity)}")
        if any(len(past.rewards) - past.rewards.count(None) < 2 for past in file.requests):
            raise ValueError("a request has fewer than two rewards")
        if not all(_is_sound(probe) for probe in file.probes):
            raise ValueError("a number of a probe is negative")
        return file


def _is_sound(probe: Probe) -> bool:
    sums = probe.sums.values()
    return (
        probe.count > 0
        and probe.tokens >= 0
        and all(own.count > 0 and own.partial >= 0 and own.final >= 0 for own in sums)
    )


class _Versioned(msgspec.Struct):
    version: int


def _named(identity: ModelIdentity) -> str:
    revision = "" if identity.policy_revision is None else f" ({identity.policy_revision})"
    return (
        f"{identity.model!r} with policy {identity.policy!r}{revision} and reward"
        f" {identity.reward!r}"
    )


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
