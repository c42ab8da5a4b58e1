"""The wire models of the scoring API.

Imports msgspec only, so that a client of the service can share these types without torch.
Requests refuse unknown fields; answers may grow fields that an older client skips.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

OnOverflow = Literal["refuse", "truncate_prompt"]

_TEXT_PART = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
_CONTENT = {"type": ["string", "array", "null"], "items": _TEXT_PART}
_CALLS = {"type": ["array", "null"], "items": {"type": "object"}}

Message = Annotated[
    dict[str, Any],
    msgspec.Meta(
        extra_json_schema={
            "required": ["role"],
            "properties": {"role": {"type": "string"}, "content": _CONTENT, "tool_calls": _CALLS},
        }
    ),
]
"""An OpenAI chat message. Its schema is for readers of the document; rendering checks it."""
Answer = Annotated[
    dict[str, Any],
    msgspec.Meta(
        extra_json_schema={
            "properties": {
                "role": {"const": "assistant"},
                "content": _CONTENT,
                "tool_calls": _CALLS,
            },
        }
    ),
]
_SOME = msgspec.Meta(extra_json_schema={"minItems": 1})
Conversation = Annotated[list[Message], _SOME]


class ScoreItem(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One conversation and the candidates that could answer it."""

    messages: Conversation
    """OpenAI chat messages, text content only."""
    completions: Annotated[list[str | Answer], _SOME]
    """Candidate answers: an assistant message, or its content alone."""
    tools: list[dict[str, Any]] | None = None
    """OpenAI tool definitions, handed to the chat template."""
    metadata: dict[str, Any] | None = msgspec.field(default_factory=dict)
    """What verifiers of a bon-gateway read, such as the expected answer. No reward model reads it;
    it is here so that one body fits both."""


class ScoreRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Body of `POST /v1/score`."""

    items: Annotated[list[ScoreItem], _SOME]
    model: str | None = None
    """The served name; None takes the model where only one is served."""
    on_overflow: OnOverflow | None = None
    """What to do with a conversation that is too long; None takes the server's setting."""
    deadline_ms: Annotated[int, msgspec.Meta(gt=0)] | None = None
    """Milliseconds from arrival after which the caller has no use for the answer."""
    partial: bool = False
    """The completions are beginnings of answers that are still being generated."""


class PrefixRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Body of `POST /v1/prefix`: a conversation whose candidates are being generated."""

    messages: Conversation
    tools: list[dict[str, Any]] | None = None
    model: str | None = None


class PrefixResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/prefix`, when the prompt has been computed."""

    model: str
    tokens: int
    """Length of the prompt."""
    kept: bool
    """False where announcing gains nothing: the model keeps no prompts, or not this one."""


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry per completion in every list, in the order given."""

    rewards: list[float]
    """Raw model outputs (no sigmoid), or the aggregates of `steps`; finite, higher is better."""
    tokens: list[int]
    """Length of the sequence that was scored, prompt included."""
    truncated: list[bool]
    """True where the prompt's left side was cut to fit."""
    labels: dict[str, list[float]] = {}
    """For a model with several labels, each label's raw numbers; for an ensemble, each member's
    standardised rewards."""
    steps: list[list[float]] = []
    """For a process reward model, the score of each step of each completion, from 0 to 1; the
    reward is their aggregate."""


class ScoreUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What was computed; equal candidates of an item are computed once."""

    sequences: int
    tokens: int


class ScoreTimings(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    queue: float
    """Waiting for the model, rendering included."""
    model: float
    """Batches that this request took part in."""


class ScoreResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/score`; `results` follows the order of `items`."""

    model: str
    results: list[ItemResult]
    usage: ScoreUsage
    timings_ms: ScoreTimings


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    message: str
    type: str
    code: str
    param: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not a success, in OpenAI's shape."""

    error: ErrorBody
