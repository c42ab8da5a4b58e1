"""Settings of every verifier, and of verifiers that ask a server."""

from __future__ import annotations

import ssl
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from bon_common.http.settings import Seconds
from bon_gateway.backends.http.settings import tls_context
from bon_gateway.backends.settings import FindKey
from bon_gateway.sections.base import Component, Url
from bon_gateway.verifiers.verifier import Verifier

VerifierName = Annotated[str, Field(min_length=1, max_length=100)]


class VerifierSettings(Component):
    """The settings of one verifier, which build it."""

    name: VerifierName | None = None
    """Its name in answers, metrics and ``weights``. None takes its type. Two verifiers of one model
    need different names."""

    @property
    def title(self) -> str:
        return self.name or self.type

    @property
    def decides(self) -> bool:
        """Whether it ever fails an answer. A verifier that only gives scores is useful only in a
        reward."""
        return True

    @property
    def key_variables(self) -> Mapping[str, str]:
        """Environment variables with keys, by the settings in this section that name them."""
        return {}

    @abstractmethod
    def build(self, keys: FindKey) -> Verifier:
        """The verifier, not started."""


class AskingVerifierSettings(VerifierSettings):
    """Settings of verifiers that ask a server."""

    url: Url
    """Address to ask."""
    api_key_env: str | None = None
    """Environment variable with the key to send there, as a bearer token. It must be set."""
    timeout_s: Seconds = 10.0
    """Longest time of one call, in seconds. After that the verifier abstains."""
    connect_timeout_s: Seconds = 5.0
    """Longest time to connect, in seconds."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Number of further tries after an error that may pass: a refused connection, 429 or 5xx. A
    call that took too long is not repeated."""
    at_once: PositiveInt = 16
    """Calls in flight in one worker; further ones wait. This number divided by the seconds of one
    call is the number of answers verified in a second."""
    max_answer_bytes: PositiveInt = 256 * 1024
    """Largest answer to one call, in bytes. The verifier abstains if it is larger."""
    ca_file: str | None = None
    """PEM file of the authorities to trust for https instead of the system's."""
    client_cert: str | None = None
    """PEM file of the certificate, with its chain, for a server that asks for one."""
    client_key: str | None = None
    """PEM file of that certificate's key, without a passphrase. None if ``client_cert`` holds
    it."""

    @model_validator(mode="after")
    def _key_has_its_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key: needs client_cert")
        return self

    @property
    def key_variables(self) -> Mapping[str, str]:
        return {} if self.api_key_env is None else {"api_key_env": self.api_key_env}

    @property
    def tls(self) -> ssl.SSLContext | None:
        """None for http. Raises SettingsError for a file that cannot be used."""
        if not self.url.startswith("https:"):
            return None
        return tls_context(self.ca_file, self.client_cert, self.client_key)

    def check(self) -> None:
        _ = self.tls


def check_names(verifiers: Sequence[VerifierSettings]) -> None:
    """Raises ValueError if two have one name."""
    titles = [verifier.title for verifier in verifiers]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two verifiers are called {title!r}; give each a name")
