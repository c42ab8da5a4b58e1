"""Where a running gateway reads its settings again: the same file, environment and flags.

Reading and checking does I/O and may take a while, so callers do it off the event loop.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bon_common.keys import KeyRing
from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import Override
from bon_gateway.auth import check_upstream_keys, load_keyring
from bon_gateway.recording.files import prepare_folder
from bon_gateway.sections.base import check_part
from bon_gateway.settings import demo
from bon_gateway.settings.demo import Demo
from bon_gateway.settings.loader import load
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies import history_files


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """What the command line gave. It goes to the workers too, so it can be pickled."""

    config: Path | None = None
    overrides: tuple[Override, ...] = ()
    demo: Demo = "toy"
    """The embedded default, for settings that name no model."""

    def read(self, environ: Mapping[str, str]) -> tuple[Settings, KeyRing]:
        """Settings that can be served, and their keys. Raises SettingsError."""
        settings = load(self.config, environ, self.overrides, self.demo)
        return settings, check(settings, environ)

    def digest(self, settings: Settings) -> bytes:
        """A digest of the content of the settings file and of the keys file.

        Time and size are not enough: a ConfigMap changes by a link to another folder, whose files
        may be as old and as long as those before.
        """
        digest = hashlib.sha256()
        for path in (self.config, settings.auth.keys_file):
            if path is not None:
                try:
                    content = Path(path).read_bytes()
                except OSError as error:
                    content = f"cannot be read: {error.errno}".encode()
                digest.update(len(content).to_bytes(8, "big") + content)
        return digest.digest()


def check(settings: Settings, environ: Mapping[str, str]) -> KeyRing:
    """Check what a gateway needs before it serves. Returns the keys. Raises SettingsError."""
    keys = load_keyring(settings.auth, environ)
    check_upstream_keys(settings, environ)
    check_libraries(settings)
    for path, component in settings.components.items():
        check_part(path, component)
    if settings.recording.folder is not None:
        prepare_folder(settings.recording.folder)
    if settings.history.folder is not None:
        history_files.prepare_folder(settings.history.folder)
    return keys


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def check_libraries(settings: Settings, installed: Callable[[str], bool] = _installed) -> None:
    """Raises SettingsError if a model in process needs packages that are not installed."""
    for path, backend in settings.backends.items():
        missing = [library for library in backend.libraries if not installed(library)]
        if missing:
            source = demo.SOURCE if demo.in_use(settings) else "settings"
            reason = f"needs {' and '.join(missing)}: pip install 'bon-gateway[embedded]'"
            raise SettingsError(source, path, reason)
