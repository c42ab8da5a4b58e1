"""API keys, from the sources in the settings: those of clients, and those for upstreams."""

from __future__ import annotations

from collections.abc import Mapping

from bon_common import keys
from bon_common.settings.errors import SettingsError
from bon_gateway.sections.server import AuthSettings
from bon_gateway.settings.tree import Settings

KEYS_VARIABLE = "BON_GATEWAY_API_KEYS"
"""Read if the settings name no variable."""


def load_keyring(auth: AuthSettings, environ: Mapping[str, str]) -> keys.KeyRing:
    """Raises SettingsError for keys that cannot be read. A variable that the settings name must be
    set."""
    if auth.keys_env is not None and auth.keys_env not in environ:
        reason = f"the environment variable {auth.keys_env} is not set"
        raise SettingsError("settings", "auth.keys_env", reason)
    variable = KEYS_VARIABLE if auth.keys_env is None else auth.keys_env
    return keys.load_keyring(auth.keys_file, "auth.keys_file", variable, environ)


def check_upstream_keys(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises SettingsError for an ``api_key_env`` without a usable key."""
    for path, component in (settings.backends | settings.verifiers).items():
        for key, variable in component.key_variables.items():
            upstream_key(variable, environ, f"{path}.{key}")


def upstream_key(variable: str | None, environ: Mapping[str, str], setting: str) -> str | None:
    """The key in a variable, without a line break at its end.

    None if no variable is named. Raises SettingsError if it is not set or holds no key.
    """
    if variable is None:
        return None
    if variable not in environ:
        raise SettingsError("settings", setting, f"the environment variable {variable} is not set")
    key = environ[variable].strip()
    if not key:
        raise SettingsError(f"environment {variable}", setting, "is set but empty")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            f"environment {variable}", setting, "holds a character that no HTTP header may have"
        )
    return key
