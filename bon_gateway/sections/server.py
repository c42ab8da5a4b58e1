"""The server: where it listens, who may call it, and what one request may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bon_common.http.settings import LONGEST_S, HttpServerSettings, Seconds
from bon_gateway.sections.base import Section

ORIGIN_PATTERN = r"^(\*|https?://[^/?#@\s]+)$"
Origin = Annotated[str, Field(pattern=ORIGIN_PATTERN)]


class ServerSettings(Section, HttpServerSettings):
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve on the port side by side."""
    keepalive_s: Seconds | None = 5.0
    """Seconds of silence after which a streaming client gets a comment line. Until the first one,
    an error still arrives with its own HTTP status. None sends no comment lines, for clients that
    cannot read them; proxies may then close a stream that is silent for long."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins of web pages that may call this gateway from a browser, such as
    ``https://chat.example.org``; ``*`` allows every page."""
    drain_delay_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0
    """Seconds after SIGTERM in which new requests are still taken, while ``/readyz`` is false."""
    drain_grace_s: Seconds = 30.0
    """Seconds after that in which requests in flight may finish."""
    reload_interval_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 2.0
    """Seconds between looks at the settings file and the keys file. Changes come into force without
    a restart. 0 looks only after a SIGHUP."""
    access_log: bool = True
    """Whether each request gets a log line."""


class AuthSettings(Section):
    keys_file: str | None = None
    """File with a line ``name: sha256:<hex>`` for each key, as ``bon-gateway hash-key`` prints it.
    A file without keys is an error."""
    keys_env: str | None = None
    """Environment variable with ``name:key`` pairs, separated by commas. If you name one here, it
    must be set. None reads ``BON_GATEWAY_API_KEYS`` where it is set."""


class LimitsSettings(Section):
    max_n: PositiveInt = 64
    """Most candidates that one request may draw."""
    on_excess_n: Literal["refuse", "clamp"] = "refuse"
    """What to do with a ``bon.n`` above ``max_n``: refuse the request, or lower n to it."""
    max_tokens: PositiveInt | None = None
    """Largest ``max_tokens`` that a request may ask for."""
    max_messages: PositiveInt = 2048
    """Most messages in one conversation."""
    max_top_logprobs: Annotated[int, Field(ge=0)] = 20
    """Largest ``top_logprobs`` that a request may ask for."""
    logprob_token_ids: bool = False
    """Whether a request may name the tokens whose log probabilities it wants. While vLLM 0.32
    computes such a request, it gives every other one ``top_logprobs`` that lack the likeliest
    tokens. Allow it only if no other client asks for them."""
    max_body_bytes: PositiveInt = 8 * 1024 * 1024
    """Bytes of the largest request body. A larger one is refused with 413."""
    max_tools: PositiveInt = 1024
    """Most ``tools`` in one request."""
    max_schema_bytes: PositiveInt = 2 * 1024 * 1024
    """Most bytes of JSON in all schemas of one request together: its tools, ``response_format`` and
    ``structured_outputs``."""
    max_schema_values: PositiveInt = 50_000
    """Most values (objects, lists, texts, numbers) in these schemas together."""
    max_schema_depth: Annotated[int, Field(ge=1, le=200)] = 128
    """Most levels of objects and lists in one of these schemas."""
    schema_check_ms: PositiveInt = 250
    """Milliseconds of CPU time for checking one answer against its schema. Only a schema that is
    large, recursive or has costly patterns takes long. An answer that was not checked in time may
    still win and is marked ``unchecked``."""
    max_json_values: PositiveInt = 100_000
    """Most values (members of objects, elements of lists) in one body. Many small values hold up
    other clients for longer than the body's size suggests. Raise it for clients that send long
    lists of token ids."""
    max_candidates: PositiveInt = 1024
    """Most candidates in flight in one worker. Further requests are refused with 503."""
    max_candidates_per_key: PositiveInt | None = None
    """Most candidates in flight for one API key in one worker. Further requests are refused with
    429."""
    max_tokens_per_request: PositiveInt | None = None
    """Most tokens that all candidates of one request may generate together. Each may generate its
    equal share: a request that asks for more ``max_tokens`` is refused, and one that sets none gets
    the share. A failed candidate that is drawn again has its share anew."""
    requests_per_key: PositiveInt | None = None
    """Most requests of one API key in a window of ``window_s``, in one worker. Further ones are
    refused with 429."""
    tokens_per_key: PositiveInt | None = None
    """Most tokens that all candidates of one API key's requests may generate in a window, in one
    worker. Further requests are refused with 429. A running request holds the most that it may
    generate; where neither it nor ``max_tokens_per_request`` says how much that is, its tokens
    count when it ends."""
    window_s: Seconds = 60.0
    """Seconds of these windows. A key's window begins with its first request after the last."""
