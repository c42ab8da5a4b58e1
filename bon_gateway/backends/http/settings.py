"""Settings of every backend that is asked over HTTP."""

from __future__ import annotations

import ssl
from abc import abstractmethod
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bon_common.http.settings import Seconds
from bon_common.settings.errors import SettingsError
from bon_gateway.backends.settings import BackendSettings
from bon_gateway.protocols import Upstream
from bon_gateway.sections.base import Url

OWN_HEADERS = (
    *("accept", "accept-encoding", "authorization", "connection", "content-length"),
    *("content-type", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding"),
    *("upgrade", "user-agent", "x-request-id", "traceparent", "tracestate", "baggage"),
)
"""Headers that already have a meaning in a call to an upstream."""


class UpstreamSettings(BackendSettings):
    """Settings of policies and reward models that are asked over HTTP."""

    urls: tuple[Url, ...] = Field(min_length=1)
    """Base addresses of the replicas, with or without ``/v1``."""
    model: str | None = None
    """The model's name on the replicas; None takes the first that they list."""
    resolve: Literal["host", "addresses"] = "host"
    """``host`` treats each url as one replica. ``addresses`` looks its host name up again and again
    and treats each address behind it as a replica: for a headless Service."""
    resolve_interval_s: Seconds = 5.0
    """Seconds between look-ups of the host names if ``resolve`` is ``addresses``."""
    api_key_env: str | None = None
    """Environment variable with the key to send to the replicas. It must be set."""
    connect_timeout_s: Seconds = 5.0
    """Seconds that connecting may take, and a whole health check."""
    timeout_s: Seconds = 60.0
    """Seconds that one call may take."""
    max_answer_bytes: PositiveInt = 64 * 1024 * 1024
    """Largest answer to one call, or largest event of a streamed answer, in bytes; a larger one
    fails. Raise it if clients ask for the logprobs of many long candidates."""
    ca_file: str | None = None
    """PEM file of the authorities to trust for https instead of the system's."""
    client_cert: str | None = None
    """PEM file of the certificate, with its chain, for replicas that ask for one."""
    client_key: str | None = None
    """PEM file of that certificate's key, without a passphrase. None if ``client_cert`` holds
    it."""
    probe_interval_s: Seconds = 2.0
    """Seconds between health checks of each replica. A replica whose health is not 200 gets no new
    requests."""
    failures_to_eject: PositiveInt = 3
    """A replica is ejected after this many calls, or health checks, in a row without an answer; a
    refused connection or a dead engine ejects it at once. After this many error answers in a row
    (such as 5xx) the gateway tries it with a call of its own, and ejects it if that fails too and
    at least half of the replicas stay."""

    @model_validator(mode="after")
    def _key_has_its_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key: needs client_cert")
        return self

    @property
    def key_variable(self) -> str | None:
        return self.api_key_env

    def check(self) -> None:
        client_context(self)

    @abstractmethod
    def build(self, key: str | None) -> Upstream:
        """The backend. ``key`` goes to the replicas and nowhere else."""


def client_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    """The TLS context for these upstreams; None if no url is https. Raises SettingsError for a file
    that cannot be used."""
    if not any(url.startswith("https:") for url in settings.urls):
        return None
    return tls_context(settings.ca_file, settings.client_cert, settings.client_key)


def tls_context(
    ca_file: str | None, client_cert: str | None, client_key: str | None
) -> ssl.SSLContext:
    """Raises SettingsError, with the key of these names, for a file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _of_no_use(ca_file, "ca_file", error) from error
    if client_cert is not None:
        try:
            # Without a password function OpenSSL would ask for one at the terminal.
            context.load_cert_chain(client_cert, client_key, password=lambda: "")
        except OSError as error:
            raise _of_no_use(client_cert, "client_cert", error) from error
    return context


def _of_no_use(path: str | None, setting: str, error: OSError) -> SettingsError:
    # A PEM file with wrong content raises SSLError, which is an OSError too.
    if isinstance(error, ssl.SSLError):
        reason = f"is not a usable PEM file: {error.reason or 'not understood'}"
    else:
        reason = f"cannot be read: {error.strerror}"
    return SettingsError(path or "the system's authorities", setting, reason)
