"""vLLM's chat completion wire format: requests as bytes, answers and chunks as Completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bon_gateway.backends.faults import malformed
from bon_gateway.backends.http import encode
from bon_gateway.types import ChatRequest, Completion

# Tokens to a streamed chunk where candidates are streamed only to know how far they are. vLLM
# builds and writes each chunk in the process that also feeds its engine, so a chunk for every
# token of N candidates slows them all; 16 bounds what is missed of an aborted candidate.
STREAM_INTERVAL = 16

STREAM_OPTIONS = {"include_usage": True, "continuous_usage_stats": True}

# vLLM answers these only in a whole answer: it refuses the first with stream, and drops the
# others from the chunks without a word.
NEEDS_WHOLE_ANSWER = ("prompt_logprobs", "kv_transfer_params", "ec_transfer_params")

BROKEN_OFF = ("abort", "error")
"""Finish reasons of a candidate that the engine did not finish."""

_CHOICE_FIELDS = frozenset(("index", "message", "finish_reason", "logprobs"))
_ANSWER_FIELDS = frozenset(
    ("id", "object", "created", "model", "choices", "usage", "system_fingerprint")
)


def streamable(request: ChatRequest) -> bool:
    return all(request.sampling.get(name) is None for name in NEEDS_WHOLE_ANSWER)


def open_body(
    request: ChatRequest, model: str | None, *, n: int, streamed: bool, interval: int | None
) -> bytes:
    """The request without its seed, which ``with_seed`` adds: N candidates of one prompt share
    the rest, so that it is encoded once. Raises UpstreamError."""
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
        # A whole answer has one usage for all its candidates; their ids are what counts each.
        body["return_token_ids"] = True
    return encode(body)


def with_seed(body: bytes, seed: int | None) -> bytes:
    return body if seed is None else b'%b,"seed":%d}' % (body[:-1], seed)


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises UpstreamError."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise malformed("its answer has no choices")
    return choices


def chunk_choices(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Choices of a streamed chunk that can be put together. Raises UpstreamError."""
    choices = choices_of(event)
    for choice in choices:
        delta, logprobs = choice.get("delta"), choice.get("logprobs")
        calls = delta.get("tool_calls") or () if isinstance(delta, dict) else None
        if not (
            isinstance(calls, list | tuple)
            and all(
                isinstance(call, dict) and isinstance(call.get("function"), dict) for call in calls
            )
            and (logprobs is None or isinstance(logprobs, dict))
        ):
            raise malformed("a chunk of its answer is broken")
    return choices


def chunk_usage(event: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Prompt and completion tokens, where the chunk tells. Raises UpstreamError."""
    return usage_of(event) if event.get("usage") else (None, None)


def usage_of(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens. Raises UpstreamError."""
    usage = answer.get("usage")
    if isinstance(usage, dict):
        prompt, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if isinstance(prompt, int) and isinstance(generated, int):
            return prompt, generated
    raise malformed("its answer has no usage")


def answer_extra(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields beside the choices that are not part of every answer."""
    return {
        name: value
        for name, value in answer.items()
        if value is not None and name not in _ANSWER_FIELDS
    }


def whole_completion(
    choice: Mapping[str, Any],
    *,
    tokens: int,
    prompt_tokens: int,
    response_extra: Mapping[str, Any],
) -> Completion:
    """One choice of a whole answer. Raises UpstreamError, also if it has no end."""
    message = choice.get("message")
    if not isinstance(message, dict):
        raise malformed("a choice has no message")
    finish_reason = choice.get("finish_reason") or ""
    check_end(finish_reason)
    return Completion(
        message=clean_message(message),
        finish_reason=finish_reason,
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        logprobs=choice.get("logprobs"),
        extra={
            name: value
            for name, value in choice.items()
            if value is not None and name not in _CHOICE_FIELDS
        },
        response_extra=response_extra,
    )


def streamed_completion(completion: Completion, response_extra: Mapping[str, Any]) -> Completion:
    """What was assembled, as the gateway hands it on. Raises UpstreamError if it has no end."""
    check_end(completion.finish_reason)
    return Completion(
        message=clean_message(completion.message),
        finish_reason=completion.finish_reason,
        tokens=completion.tokens,
        prompt_tokens=completion.prompt_tokens,
        logprobs=completion.logprobs,
        extra=completion.extra,
        response_extra=response_extra,
    )


def check_end(finish_reason: str | None) -> None:
    """Raises UpstreamError for a candidate that the engine did not finish."""
    if not finish_reason or finish_reason in BROKEN_OFF:
        raise malformed("its engine broke the candidate off")


def clean_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message as OpenAI's schema has it: null only where that has null, no empty list."""
    cleaned = {
        name: value
        for name, value in message.items()
        if value is not None and not (name == "tool_calls" and not value)
    }
    if not cleaned.get("content") and cleaned.keys() - {"role", "content", "refusal"}:
        # Beside a tool call or reasoning vLLM says "" in one place and null in another.
        cleaned["content"] = None
    cleaned.setdefault("role", "assistant")
    cleaned.setdefault("content", None)
    cleaned.setdefault("refusal", None)
    return cleaned


def strip_token_ids(answer: dict[str, Any], choices: Iterable[dict[str, Any]]) -> None:
    """Takes out what only the gateway asked for."""
    answer.pop("prompt_token_ids", None)
    for choice in choices:
        choice.pop("token_ids", None)


def token_counts(choices: Sequence[Mapping[str, Any]], total: int) -> list[int]:
    """Tokens of each choice, which sum to ``total`` wherever vLLM keeps the ids to itself (it
    does while it hides reasoning): then each is given an equal share."""
    ids = [choice.get("token_ids") for choice in choices]
    if all(isinstance(tokens, list) for tokens in ids):
        return [len(tokens) for tokens in ids if tokens is not None]
    share, rest = divmod(total, len(choices) or 1)
    return [share + (place < rest) for place in range(len(choices))]
