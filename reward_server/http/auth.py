"""API keys: who may call. A running server can read the keys file again; the environment cannot
change."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from bon_common.keys import KeyRing, load_keyring
from bon_common.settings.errors import SettingsError
from reward_server.errors import UnauthorizedError
from reward_server.settings_sources import KEYS_VARIABLE

logger = logging.getLogger("reward_server.auth")


class Keys:
    """The keys that are in force."""

    def __init__(self, file: str | None, environ: Mapping[str, str]) -> None:
        """Raises SettingsError."""
        self._file = file
        self._environ = environ
        self._ring = self._load()

    @property
    def open(self) -> bool:
        """Whether everyone is let in."""
        return self._ring.open

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
        """Read the keys file again. A file that is not valid changes nothing; the log says why."""
        try:
            ring = self._load()
        except SettingsError as error:
            logger.error("the API keys are refused; those before stay: %s", error)
            return
        changed = ring != self._ring
        self._ring = ring
        logger.info("the API keys are reloaded" if changed else "the API keys have not changed")

    def _load(self) -> KeyRing:
        return load_keyring(self._file, "api_keys_file", KEYS_VARIABLE, self._environ)
