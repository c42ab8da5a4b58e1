"""API keys: who may ask, compared in constant time, never logged.

The keys file is read again while the server runs; the environment cannot change.
"""

from __future__ import annotations

import logging
from pathlib import Path

from bon_common.keys import KeyRing, KeysError, add_lines, digest
from reward_server.errors import UnauthorizedError
from reward_server.settings import Settings
from reward_server.settings_sources import SettingsError

logger = logging.getLogger("reward_server.auth")


class Keys:
    """The keys that are in force."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self._settings = settings
        self._ring = load_keyring(settings)

    def caller_of(self, authorization: str | None) -> str | None:
        """Return the name of the key in an Authorization header, None where no keys are set.

        Raises UnauthorizedError.
        """
        if self._ring.open:
            return None
        found = self._ring.owner(authorization)
        if found is None:
            raise UnauthorizedError("a valid API key is needed: Authorization: Bearer KEY")
        return found

    def reload(self) -> None:
        """Read the keys file again; one that is no good changes nothing, and the log says why."""
        try:
            ring = load_keyring(self._settings)
        except SettingsError as error:
            logger.error("the API keys are refused; those before stay: %s", error)
            return
        changed = ring != self._ring
        self._ring = ring
        logger.info("the API keys are reloaded" if changed else "the API keys have not changed")


def load_keyring(settings: Settings) -> KeyRing:
    """The keys of the file and of the environment together. Raises SettingsError."""
    digests: dict[str, bytes] = {}
    path = settings.api_keys_file
    if path is not None:
        try:
            add_lines(Path(path).read_text("utf-8"), digests)
        except KeysError as error:
            raise SettingsError(path, error.place or "api_keys_file", error.reason) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SettingsError(path, "api_keys_file", f"cannot be read: {reason}") from error
    for name, key in settings.api_keys.items():
        known = digest(key.get_secret_value())
        if name in digests or known in digests.values():
            reason = f"the key of {name!r} is in {path} too, or its name"
            raise SettingsError("environment", "api_keys", reason)
        digests[name] = known
    return KeyRing(digests)
