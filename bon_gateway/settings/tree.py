"""The gateway's settings: one frozen, closed tree.

This module validates and describes; it builds nothing and does no I/O. ``settings_loader`` reads
the file, the environment and the flags, and ``factory`` turns the tree into objects.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)
from yarl import URL

from bon_common.patterns import compile_pattern

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps|xpu(:\d+)?)$")]
URL_PATTERN = r"^https?://[^/\s]+(/.*)?$"
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
ORIGIN_PATTERN = r"^(\*|https?://[^/?#@\s]+)$"
Origin = Annotated[str, Field(pattern=ORIGIN_PATTERN)]
LONGEST_S = 31_536_000.0
"""A year: timers of the event loop do not take every float."""


def _is_address(url: str) -> str:
    """What the pattern cannot say. The URL may hold a password, so that no message shows it."""
    if "?" in url or "#" in url:
        raise ValueError("should have no query and no fragment")
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("holds a character that no address may have")
    try:
        known = URL(url)
        valid = bool(known.raw_host) and known.port != 0 and urlsplit(url).hostname is not None
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("its host or its port is not valid")
    return url


Url = Annotated[str, Field(pattern=URL_PATTERN), AfterValidator(_is_address)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Milliseconds = Annotated[int, Field(gt=0, le=int(LONGEST_S * 1000))]
HeaderName = Annotated[str, Field(pattern=HEADER_PATTERN)]
PATTERNS = {
    URL_PATTERN: "should be an address such as http://host:port",
    HEADER_PATTERN: "should be the name of an HTTP header",
}
"""What errors say of them."""

OWN_HEADERS = (
    *("accept", "accept-encoding", "authorization", "connection", "content-length"),
    *("content-type", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding"),
    *("upgrade", "user-agent", "x-request-id", "traceparent", "tracestate", "baggage"),
)
"""Headers of a call to an upstream that mean something else already."""


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


# Upstreams over HTTP ---------------------------------------------------------------------------


class UpstreamSettings(Section):
    """What policies and reward models that are asked over HTTP have in common."""

    urls: tuple[Url, ...] = Field(min_length=1)
    """Base addresses of the replicas, with or without ``/v1``."""
    resolve: Literal["host", "addresses"] = "host"
    """``host`` takes each url for one replica. ``addresses`` looks its host name up again and
    again and takes each address behind it for a replica: for a headless Service."""
    resolve_interval_s: Seconds = 5.0
    """How often names are looked up where ``resolve`` is ``addresses``."""
    api_key_env: str | None = None
    """Name of the environment variable with the key to send to the replicas. It must be set."""
    connect_timeout_s: Seconds = 5.0
    """It holds for health checks too."""
    timeout_s: Seconds = 60.0
    max_answer_bytes: PositiveInt = 64 * 1024 * 1024
    """Largest answer to one call, or event of a streamed one; a larger one fails. Raise it where
    clients ask for the logprobs of many long candidates."""
    ca_file: str | None = None
    """PEM file of the authorities to trust for https, in place of the system's."""
    client_cert: str | None = None
    """PEM file of a certificate to show to replicas that ask for one, with its chain."""
    client_key: str | None = None
    """PEM file of its key, without a passphrase; None if ``client_cert`` holds it."""
    probe_interval_s: Seconds = 2.0
    """How often each replica's health is asked for: one that answers other than 200 gets no new
    request."""
    failures_to_eject: PositiveInt = 3
    """Calls in a row that got no answer, or health checks without one, that eject a replica. A
    refused connection or a dead engine ejects it at once. So many answers in a row that are errors
    (5xx, say) have it tried with a call of the gateway's own, and it is ejected if that fails too
    and at least half of the replicas stay."""

    @model_validator(mode="after")
    def _key_has_its_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key: needs client_cert")
        return self


# Policies --------------------------------------------------------------------------------------


class ThinkingSettings(Section):
    """How thinking is marked inside the content of a message."""

    start: Annotated[str, Field(min_length=1)] = "<think>"
    end: Annotated[str, Field(min_length=1)] = "</think>"
    """What stands before it is thinking also where ``start`` is missing, because some chat
    templates write that into the prompt."""


class VllmPolicySettings(UpstreamSettings):
    type: Literal["vllm"]
    model: str | None = None
    """The name that the replicas serve it under; asked of ``/v1/models`` if left out."""
    revision: str | None = None
    """Your word for the weights that the replicas serve. It is only recorded (``recording``)."""
    fan_out: Literal["together", "separate"] = "together"
    """``together`` sends one request with n: less HTTP work, and all arrive together where nothing
    may stop them early. ``separate`` sends one request per candidate: each is scored as it finishes
    and drawn again alone."""
    thinking: ThinkingSettings | None = None
    """Set it to ``{}`` or to the words of your model where the engines run no reasoning parser, so
    that thinking comes inside the content. JSON checks and the reward model then see only what
    follows it; clients get the content as it is. None takes all content for the answer."""
    session_header: HeaderName | None = None
    """Header in which every call for one request carries the request's id, so that a router
    between the gateway and the engines can send all its candidates to one engine."""
    timeout_s: Seconds = 600.0
    """Longest that one candidate may take."""

    @field_validator("session_header")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name is not None and name.lower() in OWN_HEADERS:
            raise ValueError(f"{name!r} already has a meaning in a call to an upstream")
        return name


class TransformersPolicySettings(Section):
    type: Literal["transformers"]
    model: str
    """A folder or a hub id of a causal language model."""
    revision: str | None = None
    device: Device = "auto"
    """``auto`` is a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is float32 on a CPU, else what the checkpoint holds."""
    trust_remote_code: bool = False
    thinking: ThinkingSettings | None = None
    """As for ``vllm``: how the model marks its thinking, which checks and the reward model skip."""
    max_tokens: PositiveInt = 512
    """Generated tokens where the client sets no limit."""
    max_queue: PositiveInt = 64
    """Requests that may wait for the model; more are refused with 503."""
    threads: PositiveInt | None = None
    """CPU threads of torch for the whole process; None leaves torch's own choice."""


PolicySettings = Annotated[
    VllmPolicySettings | TransformersPolicySettings, Field(discriminator="type")
]

# Rewards ---------------------------------------------------------------------------------------

ForTextAlone = Literal["refuse", "leave_out", "placeholder"]
NonTextParts = Literal["refuse", "leave_out", "placeholder", "send"]


class HttpRewardSettings(UpstreamSettings):
    """What reward models that are asked over HTTP have in common."""

    model: str | None = None
    """The name to ask for; None takes what the replicas have loaded."""


class RewardServerSettings(HttpRewardSettings):
    type: Literal["reward_server"]
    non_text_parts: ForTextAlone = "refuse"
    """What becomes of images, audio, files and other parts of a conversation that are not text,
    which the reward model cannot read. ``refuse`` answers 400 before anything is drawn.
    ``leave_out`` has the answers scored without them, ``placeholder`` with words such as
    ``[image]`` in their place."""
    announce: bool = False
    """Whether the replica that will score a conversation is told of it when its candidates begin to
    be drawn, so that it computes the prompt meanwhile. For long prompts and a reward server that is
    idle while engines generate."""


class VllmClassifySettings(HttpRewardSettings):
    type: Literal["vllm_classify"]
    non_text_parts: NonTextParts = "refuse"
    """As for ``reward_server``. ``send`` is for a model that can read them: it gets messages as
    the client sent them."""


class InProcessRewardSettings(Section):
    type: Literal["in_process"]
    model: str
    """A folder or a hub id of a sequence-classification reward model."""
    non_text_parts: ForTextAlone = "refuse"
    """As for ``reward_server``."""
    revision: str | None = None
    device: Device = "auto"
    """``auto`` is a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    max_batch_tokens: PositiveInt = 16384
    """Tokens, padding included, that one forward pass may hold."""
    threads: PositiveInt | None = None
    """CPU threads of torch for the whole process; None leaves torch's own choice. Set it to 1 for
    a small model beside an engine on the same CPU, where more threads wait for each other."""


RewardSettings = Annotated[
    RewardServerSettings | VllmClassifySettings | InProcessRewardSettings,
    Field(discriminator="type"),
]

# Strategies ------------------------------------------------------------------------------------


class DrawSettings(Section):
    """What every strategy that draws several candidates has."""

    n: PositiveInt = 8
    """Candidates to select among."""
    deadline_ms: Milliseconds | None = None
    """At the deadline the best of what has arrived wins, if ``min_candidates`` arrived."""
    min_candidates: PositiveInt = 1
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Times that a failed candidate is drawn again."""
    fallback: Literal["first", "error"] = "first"
    """When no candidate has a reward, because the reward model is down or refuses the conversation:
    the finished candidate of lowest index, or an error. With ``error`` nothing is drawn while the
    reward model is down."""

    needs_reward: ClassVar[bool] = True

    @property
    def drawn(self) -> int:
        """Candidates that one request draws."""
        return self.n

    @model_validator(mode="after")
    def _min_candidates_within_n(self) -> Self:
        if self.min_candidates > self.n:
            raise ValueError(f"min_candidates ({self.min_candidates}) is above n ({self.n})")
        return self


class BestOfNSettings(DrawSettings):
    type: Literal["best_of_n"]


class FirstKSettings(DrawSettings):
    type: Literal["first_k"]
    spare: PositiveInt = 2
    """Candidates drawn beyond n; the first n to finish are kept and the rest are stopped."""

    @property
    def drawn(self) -> int:
        return self.n + self.spare


class SingleSettings(Section):
    type: Literal["single"]
    deadline_ms: Milliseconds | None = None
    min_candidates: Annotated[int, Field(ge=1, le=1)] = 1
    """There is one."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1

    needs_reward: ClassVar[bool] = False
    n: ClassVar[int] = 1
    drawn: ClassVar[int] = 1


StrategySettings = Annotated[
    BestOfNSettings | FirstKSettings | SingleSettings, Field(discriminator="type")
]

# Served models ---------------------------------------------------------------------------------


class ServedModelSettings(Section):
    policy: str
    reward: str | None = None
    strategy: StrategySettings
    allow_override: bool = True
    """Whether a request's ``bon`` object may change the strategy."""


# Server ----------------------------------------------------------------------------------------


class ServerSettings(Section):
    host: str | None = None
    """None listens on loopback while no API key is set, else on all addresses."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes a free one and prints it."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
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
    max_head_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    """Largest request line and headers together; beyond it the answer is 431."""
    head_timeout_s: Seconds = 10.0
    """Longest that a request's line and headers may take to arrive, and a new connection to send
    its first byte."""
    body_timeout_s: Seconds = 30.0
    """Longest pause in a request's body. A whole body may take this and a second for each 8 KiB."""
    write_timeout_s: Seconds = 60.0
    """Longest that a client may leave its answer unread. Then the connection is cut, and what is
    still being generated for it is stopped."""
    max_connections: PositiveInt | None = None
    """Connections of clients that one worker keeps open; beyond it idle ones are closed, then new
    ones get 503. None is half of the process's limit of open files."""
    reload_interval_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 2.0
    """How often the settings file and the keys file are looked at: what changed is taken over
    without a restart. 0 looks at them on SIGHUP only."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = True


class AuthSettings(Section):
    keys_file: str | None = None
    """Lines ``name: sha256:<hex>``, as ``bon-gateway hash-key`` prints them. A file without any is
    an error."""
    keys_env: str = "BON_GATEWAY_API_KEYS"
    """Environment variable with ``name:key`` pairs, separated by commas. One that is named here
    must be set."""


class LimitsSettings(Section):
    max_n: PositiveInt = 64
    on_excess_n: Literal["refuse", "clamp"] = "refuse"
    """What becomes of a request's ``bon.n`` above ``max_n``."""
    max_tokens: PositiveInt | None = None
    """Largest ``max_tokens`` that a request may ask for."""
    max_messages: PositiveInt = 2048
    max_top_logprobs: Annotated[int, Field(ge=0)] = 20
    logprob_token_ids: bool = False
    """Whether a request may name the tokens whose log probabilities it wants. While vLLM 0.32
    computes such a request, it gives every other one ``top_logprobs`` that lack the likeliest
    tokens; allow it where no other client asks for them."""
    max_body_bytes: PositiveInt = 8 * 1024 * 1024
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


class RecordingSettings(Section):
    folder: str | None = None
    """Where the candidate log goes; None records nothing."""
    sample_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of requests that are recorded. The request id decides, so a request that is sent
    again under its id is recorded again or left out again."""
    max_bytes: PositiveInt = 64 * 1024 * 1024
    """A file that has grown to this is closed, and the next one begun."""
    keep: PositiveInt = 20
    """Closed files that stay in the folder, of all workers together; the oldest go."""
    gzip: bool = True
    """Whether a file is compressed when it is closed for its size."""
    redact: tuple[str, ...] = ()
    """Regular expressions in RE2's syntax (no look-around, no back-references; ``\\d``, ``\\w`` and
    ``\\b`` are ASCII's). What they match is replaced by ``[redacted]``: in texts, in JSON inside
    texts whatever its escapes, in numbers, keys and the request id."""
    redact_fields: tuple[str, ...] = ()
    """Dotted fields to leave out of messages and of the sampling parameters, such as ``name``,
    ``content.image_url`` or ``tool_calls.function.arguments``; lists are looked into."""
    sampling: bool = True
    """Whether sampling parameters, tools among them, are recorded."""
    queue: PositiveInt = 1000
    """Records that may wait to be written in one worker; more are dropped and counted."""

    @field_validator("redact")
    @classmethod
    def _are_expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                compiled = compile_pattern(pattern)
            except ValueError as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
            if any(compiled.finditer("")):
                raise ValueError(f"{pattern!r} matches the empty text, so it would match anywhere")
        return patterns

    @field_validator("redact_fields")
    @classmethod
    def _are_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not all(path.split(".")):
                raise ValueError(f"{path!r} is no dotted field")
        return paths


class Settings(Section):
    policies: dict[str, PolicySettings] = Field(min_length=1)
    rewards: dict[str, RewardSettings] = {}
    models: dict[str, ServedModelSettings] = Field(min_length=1)
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitsSettings = LimitsSettings()
    recording: RecordingSettings = RecordingSettings()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, served in self.models.items():
            if served.policy not in self.policies:
                raise ValueError(f"models.{name}.policy: no policy is named {served.policy!r}")
            if served.reward is not None and served.reward not in self.rewards:
                raise ValueError(f"models.{name}.reward: no reward is named {served.reward!r}")
            if served.reward is None and served.strategy.needs_reward:
                raise ValueError(
                    f"models.{name}.reward: strategy {served.strategy.type} needs a reward"
                )
            if served.strategy.drawn > self.limits.max_n:
                raise ValueError(
                    f"models.{name}.strategy: it draws {served.strategy.drawn} candidates, above"
                    f" limits.max_n ({self.limits.max_n})"
                )
            per_key = self.limits.max_candidates_per_key
            if per_key is not None and served.strategy.drawn > per_key:
                raise ValueError(
                    f"limits.max_candidates_per_key: must not be below the"
                    f" {served.strategy.drawn} candidates that models.{name} draws"
                )
        if self.limits.max_n > self.limits.max_candidates:
            raise ValueError("limits.max_candidates: must not be below limits.max_n")
        return self
