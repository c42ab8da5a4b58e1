"""Settings of servers that are asked over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from trainers.base.settings import Positive, Settings


def _base_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https:// is expected")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_base_address)]


class ServerAccess(Settings):
    """A server, and how it is asked: how much at once, how long, how often."""

    free = frozenset({"url", "api_key_env", "concurrency", "timeout_s", "retries", "backoff_s"})

    url: HttpUrl
    """Base address, such as http://127.0.0.1:8000/v1 for an OpenAI API, or http://127.0.0.1:8081
    for a reward server."""
    model: str | None = None
    """The served name; may be left out for a server with a single model."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself stays out of files."""
    concurrency: Positive = 16
    """Largest number of requests at the same time."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Longest time of a whole request, in seconds."""
    retries: Annotated[int, Field(ge=0)] = 5
    """Attempts after a refused connection, a timeout, status 408, 409, 425, 429 or a 5xx."""
    backoff_s: Annotated[float, Field(ge=0)] = 0.5
    """Pause before the first retry, in seconds; each further one is twice as long, up to 30 s. If
    the server says how long to wait, that is obeyed."""


class HttpSettings(ServerAccess):
    """A server whose failures are counted."""

    give_up_after: Positive = 8
    """This many failures in a row end the run; finished work is kept."""


class ChatSettings(HttpSettings):
    """A server of OpenAI's chat completions."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The server's name for the length limit."""
    send_seed: bool = True
    """Turn off for a server that refuses seeds."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request."""
