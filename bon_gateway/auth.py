"""Who may call the gateway, and what it shows upstreams: keys from where the settings say.

A source that is configured and holds no key is an error of the settings: without keys everybody
may call, and nobody means that who names a file or a variable of keys. ``bon_common.keys`` has
their forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bon_common.keys import KEY_NAME, KeyRing, KeysError, add_lines, add_pairs, digest
from bon_gateway.settings.tree import AuthSettings, Settings, UpstreamSettings
from bon_gateway.settings_errors import SettingsError

__all__ = ["KEY_NAME", "KeyRing", "check_upstream_keys", "digest", "load_keyring", "upstream_key"]


def load_keyring(auth: AuthSettings, environ: Mapping[str, str]) -> KeyRing:
    """Keys of the file and of the environment together.

    Raises SettingsError for a source that cannot be read or holds no key, a bad line or pair, and
    for a name or a key that is there twice.
    """
    digests: dict[str, bytes] = {}
    if auth.keys_file is not None:
        try:
            add_lines(read_keys_file(auth.keys_file), digests)
        except KeysError as error:
            raise SettingsError(
                auth.keys_file, error.place or "auth.keys_file", error.reason
            ) from None
    if auth.keys_env in environ:
        try:
            add_pairs(environ[auth.keys_env], digests)
        except KeysError as error:
            raise SettingsError(f"environment {auth.keys_env}", error.place, error.reason) from None
    elif "keys_env" in auth.model_fields_set:
        reason = f"the environment variable {auth.keys_env} is not set"
        raise SettingsError("settings", "auth.keys_env", reason)
    return KeyRing(digests)


def read_keys_file(path: str) -> str:
    """Raises SettingsError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(path, "auth.keys_file", f"cannot be read: {reason}") from error


def check_upstream_keys(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises SettingsError for an ``api_key_env`` that leads to no key."""
    for section, backends in (("policies", settings.policies), ("rewards", settings.rewards)):
        for name, backend in backends.items():
            if isinstance(backend, UpstreamSettings):
                upstream_key(backend.api_key_env, environ, f"{section}.{name}.api_key_env")


def upstream_key(variable: str | None, environ: Mapping[str, str], setting: str) -> str | None:
    """The key in a variable, without the line break that a file of one line ends with.

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
