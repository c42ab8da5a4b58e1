"""vLLM's chat completion wire format: requests as bytes, answers and chunks as Completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bon_gateway.backends.http.client import encode
from bon_gateway.backends.policy.vllm import check
from bon_gateway.backends.policy.vllm.check import Paid
from bon_gateway.types import ChatRequest, Completion

# Tokens in a streamed chunk if candidates are streamed only to count their tokens. vLLM builds and
# writes each chunk in the process that also feeds its engine, so a chunk for every token of N
# candidates would slow them all. At most 16 tokens of an aborted candidate are not counted.
STREAM_INTERVAL = 16

STREAM_OPTIONS = {"include_usage": True, "continuous_usage_stats": True}

# With these vLLM answers otherwise in a stream. It refuses the first with stream, drops the next
# two from the chunks without a word, and fails to echo content that is a list of parts. A client
# that says something about reasoning has a reasoning parser, see ``streamable``.
NEEDS_WHOLE_ANSWER = (
    "prompt_logprobs",
    "kv_transfer_params",
    "ec_transfer_params",
    "echo",
    "include_reasoning",
)

_CHOICE_FIELDS = frozenset(("index", "message", "finish_reason", "logprobs"))
_ANSWER_FIELDS = frozenset(("id", "object", "created", "model", "choices", "usage"))

_BARE_MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "reasoning": None,
}

# vLLM has these in every whole answer, null or not, and some clients fail if they are missing.
_NULLS_OF_CHOICE: dict[str, Any] = dict.fromkeys(("stop_reason", "token_ids", "routed_experts"))
_NULLS_OF_ANSWER: dict[str, Any] = dict.fromkeys(
    (
        *("service_tier", "prompt_logprobs", "prompt_token_ids", "prompt_text"),
        *("kv_transfer_params", "ec_transfer_params", "metrics"),
    )
)


def streamable(request: ChatRequest) -> bool:
    """Whether the candidates of this request are the same, streamed or whole.

    vLLM parses tool calls in streams with other code than in whole answers. Many of its parsers
    lose or garble calls that arrive 16 tokens at a time, and some even token by token. Its
    reasoning parsers differ too, but the request does not show whether it has one: see
    ``UpstreamWays``.
    """
    sampling = request.sampling
    if sampling.get("tools") and sampling.get("tool_choice") != "none":
        return False
    return all(sampling.get(name) is None for name in NEEDS_WHOLE_ANSWER)


def open_body(
    request: ChatRequest, model: str | None, *, n: int, streamed: bool, interval: int | None
) -> bytes:
    """The request without its seed, which ``with_seed`` adds. N candidates of one prompt share the
    rest, so it is encoded once. Raises UpstreamError."""
    body: dict[str, Any] = dict(request.sampling)
    body["messages"] = request.messages
    body["n"] = n
    if model is not None:
        body["model"] = model
    if streamed:
        body["stream"] = True
        body["stream_options"] = STREAM_OPTIONS
        if interval is not None:
            body.setdefault("stream_interval", interval)
    elif n > 1:
        # A whole answer has one usage for all its candidates; token ids give the count of each.
        body["return_token_ids"] = True
    return encode(body)


def with_seed(body: bytes, seed: int | None) -> bytes:
    # The body is an encoded object that is never empty: the seed replaces its closing brace.
    return body if seed is None else b'%b,"seed":%d}' % (body[:-1], seed)


def nulls_of_answer() -> dict[str, Any]:
    """The fields beside the choices that every answer has."""
    return dict(_NULLS_OF_ANSWER)


def answer_extra(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields beside the choices that only some answers have."""
    return {
        name: value
        for name, value in answer.items()
        if value is not None and name not in _ANSWER_FIELDS
    }


def whole_completion(
    choice: Mapping[str, Any],
    paid: Paid,
    *,
    tokens: int,
    response_extra: Mapping[str, Any],
    completion_details: Mapping[str, Any] | None,
) -> Completion:
    """A choice of a whole answer that has passed ``check_whole``, as a Completion."""
    extra = _NULLS_OF_CHOICE.copy()
    for name, value in choice.items():
        if value is not None and name not in _CHOICE_FIELDS:
            extra[name] = value
    return Completion(
        message=clean_message(choice["message"]),
        finish_reason=choice["finish_reason"],
        tokens=tokens,
        prompt_tokens=paid.prompt_tokens,
        logprobs=choice.get("logprobs"),
        extra=extra,
        response_extra=response_extra,
        prompt_details=paid.prompt_details,
        completion_details=completion_details,
    )


def streamed_completion(
    drawn: Completion, response_extra: Mapping[str, Any], prompt_details: Mapping[str, Any] | None
) -> Completion:
    """The assembled Completion, as the gateway hands it on. Raises UpstreamError if it has no
    end."""
    check.check_end(drawn.finish_reason)
    check.check_writable((drawn.message, drawn.logprobs, drawn.extra))
    return Completion(
        message=clean_message(drawn.message),
        finish_reason=drawn.finish_reason,
        tokens=drawn.tokens,
        prompt_tokens=drawn.prompt_tokens,
        logprobs=drawn.logprobs,
        extra=_NULLS_OF_CHOICE | dict(drawn.extra),
        response_extra=response_extra,
        prompt_details=prompt_details,
        completion_details=drawn.completion_details,
    )


def clean_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message in the form of OpenAI's schema: null only where it allows null, no empty list. It
    keeps ``reasoning``, which vLLM has in every message, null or not."""
    cleaned = _BARE_MESSAGE.copy()
    for name, value in message.items():
        if value is not None:
            cleaned[name] = value
    if not cleaned.get("tool_calls", True):
        del cleaned["tool_calls"]
    more = len(cleaned) > len(_BARE_MESSAGE) or cleaned["reasoning"] is not None
    if more and not cleaned["content"]:
        # Beside a tool call or reasoning vLLM says "" in some cases and null in others.
        cleaned["content"] = None
    return cleaned


def strip_token_ids(answer: dict[str, Any], choices: Iterable[dict[str, Any]]) -> None:
    """Removes the token ids that only the gateway asked for."""
    answer["prompt_token_ids"] = None
    for choice in choices:
        choice["token_ids"] = None


def token_counts(choices: Sequence[Mapping[str, Any]], total: int) -> list[int]:
    """Tokens of each choice by its token ids. While vLLM hides reasoning it does not send ids; then
    each choice gets an equal share of ``total``."""
    ids = [choice.get("token_ids") for choice in choices]
    counts = [len(tokens) for tokens in ids if isinstance(tokens, list)]
    if len(counts) == len(ids):
        return counts
    share, rest = divmod(total, len(choices) or 1)
    return [share + (place < rest) for place in range(len(choices))]
