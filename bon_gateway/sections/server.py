"""The server itself: where it listens, who may call it, and what one request may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bon_common.http.settings import LONGEST_S, HttpServerSettings, Seconds
from bon_gateway.sections.base import Section

ORIGIN_PATTERN = r"^(\*|https?://[^/?#@\s]+)$"
Origin = Annotated[str, Field(pattern=ORIGIN_PATTERN)]


class ServerSettings(Section, HttpServerSettings):
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve side by side on one port."""
    keepalive_s: Seconds | None = 5.0
    """A streaming client gets a comment line each time that this has passed in silence. Until
    the first one, an error still arrives with its own HTTP status. None sends no comment lines, for
    clients that cannot read them; proxies may then close a stream that is silent for long."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins of web pages that may call this gateway from a browser, such as
    ``https://chat.example.org``; ``*`` allows every page."""
    drain_delay_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0
    """After SIGTERM requests are still taken for this long, with ``/readyz`` false."""
    drain_grace_s: Seconds = 30.0
    """Longest that requests in flight may take to finish after that."""
    reload_interval_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 2.0
    """How often the settings file and the keys file are looked at: what changed is taken over
    without a restart. 0 looks at them on SIGHUP only."""
    access_log: bool = True
    """Whether each request gets a line."""


class AuthSettings(Section):
    keys_file: str | None = None
    """Lines ``name: sha256:<hex>``, as ``bon-gateway hash-key`` prints them. A file without any is
    an error."""
    keys_env: str = "BON_GATEWAY_API_KEYS"
    """Environment variable with ``name:key`` pairs, separated by commas. One that is named here
    must be set."""


class LimitsSettings(Section):
    max_n: PositiveInt = 64
    """Most candidates that one request may draw."""
    on_excess_n: Literal["refuse", "clamp"] = "refuse"
    """What becomes of a request's ``bon.n`` above ``max_n``."""
    max_tokens: PositiveInt | None = None
    """Largest ``max_tokens`` that a request may ask for."""
    max_messages: PositiveInt = 2048
    """Most messages in one conversation."""
    max_top_logprobs: Annotated[int, Field(ge=0)] = 20
    """Largest ``top_logprobs`` that a request may ask for."""
    logprob_token_ids: bool = False
    """Whether a request may name the tokens whose log probabilities it wants. While vLLM 0.32
    computes such a request, it gives every other one ``top_logprobs`` that lack the likeliest
    tokens; allow it where no other client asks for them."""
    max_body_bytes: PositiveInt = 8 * 1024 * 1024
    """Largest body of a request; beyond it the answer is 413."""
    max_tools: PositiveInt = 1024
    """Most ``tools`` in one request."""
    max_schema_bytes: PositiveInt = 2 * 1024 * 1024
    """Bytes of JSON that the schemas of one request may have together: those of its tools, of
    ``response_format`` and of ``structured_outputs``."""
    max_schema_values: PositiveInt = 50_000
    """Values (objects, lists, texts, numbers) in them together."""
    max_schema_depth: Annotated[int, Field(ge=1, le=200)] = 128
    """Levels of objects and lists in one of them."""
    schema_check_ms: PositiveInt = 250
    """CPU time that checking one answer against its schema may take. Only a schema that is large,
    recursive or has costly patterns takes long; an answer that is not checked in time may win, and
    is marked as ``unchecked``."""
    max_json_values: PositiveInt = 100_000
    """Values (members of objects, elements of lists) in one body. A body of very many small ones
    holds up other clients for longer than its bytes tell. Raise it for clients that send long lists
    of token ids."""
    max_candidates: PositiveInt = 1024
    """Candidates in flight in one worker; beyond it requests are refused with 503."""
    max_candidates_per_key: PositiveInt | None = None
    """Candidates in flight for one API key in one worker; beyond it 429."""
