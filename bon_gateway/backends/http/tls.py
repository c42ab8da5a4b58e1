"""Whom to trust at the other end of https, and what to show there."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Protocol

from bon_common.settings.errors import SettingsError


class TlsFiles(Protocol):
    """The part of an upstream's settings that is about https."""

    @property
    def urls(self) -> Sequence[str]: ...

    @property
    def ca_file(self) -> str | None: ...

    @property
    def client_cert(self) -> str | None: ...

    @property
    def client_key(self) -> str | None: ...


def client_context(settings: TlsFiles) -> ssl.SSLContext | None:
    """None if no url is https. Raises SettingsError for a file that is of no use."""
    if not any(url.startswith("https:") for url in settings.urls):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise _of_no_use(settings.ca_file, "ca_file", error) from error
    if settings.client_cert is not None:
        try:
            # Without a password of its own OpenSSL would ask for one at the terminal.
            context.load_cert_chain(settings.client_cert, settings.client_key, password=lambda: "")
        except OSError as error:
            raise _of_no_use(settings.client_cert, "client_cert", error) from error
    return context


def _of_no_use(path: str | None, setting: str, error: OSError) -> SettingsError:
    # What is wrong with the content of a PEM file is an SSLError, which is an OSError too.
    if isinstance(error, ssl.SSLError):
        reason = f"is no PEM file that can be used here: {error.reason or 'not understood'}"
    else:
        reason = f"cannot be read: {error.strerror}"
    return SettingsError(path or "the system's authorities", setting, reason)
