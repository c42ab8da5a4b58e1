"""Whether what vLLM sent can be used.

Any field of an upstream's answer may hold any JSON: it may come from another server at that
address, from a proxy or from a faulty release. Everything that the gateway reads later is checked
here, so that a broken candidate fails alone and never becomes an exception on the way to the
client. Fields that the gateway only passes on may hold anything that can be written as JSON. Checks
raise UpstreamError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import orjson

from bon_gateway.backends.http.faults import UpstreamError, malformed

TOO_MANY = 1 << 53
"""Limit of token counts: every reader of JSON can hold smaller ones exactly."""

BROKEN_OFF = frozenset({"abort", "error"})
"""Finish reasons of a candidate that the engine broke off."""

_NO_CALLS: tuple[Any, ...] = (None, [])
_LIST_OR_NONE = (list, type(None))
_NO_END = BROKEN_OFF | {""}
_TEXTS = ("role", "content", "refusal", "reasoning", "reasoning_content")


class Paid(NamedTuple):
    """An answer's usage."""

    prompt_tokens: int
    tokens: int
    prompt_details: dict[str, Any] | None
    completion_details: dict[str, Any] | None

    @property
    def parses_reasoning(self) -> bool:
        return "reasoning_tokens" in (self.completion_details or ())


def usage_of(answer: Mapping[str, Any]) -> Paid:
    usage = answer.get("usage")
    if isinstance(usage, dict):
        prompt, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if _is_count(prompt) and _is_count(generated):
            return Paid(
                prompt,
                generated,
                _details(usage.get("prompt_tokens_details")),
                _details(usage.get("completion_tokens_details")),
            )
    raise malformed("its answer has no usage")


def chunk_usage(event: Mapping[str, Any]) -> Paid | None:
    """A chunk's usage, if it has one."""
    return usage_of(event) if event.get("usage") else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < TOO_MANY


def _details(value: object) -> dict[str, Any] | None:
    """Only the counts in it. Other values could be neither summed nor trusted."""
    if not isinstance(value, dict):
        return None
    counts: dict[str, Any] = {}
    for name, entry in value.items():
        if _is_count(entry):
            counts[name] = entry
        elif isinstance(entry, dict):
            inner = {key: count for key, count in entry.items() if _is_count(count)}
            if inner:
                counts[name] = inner
    check_writable(counts)
    return counts or None


def choices_of(answer: Mapping[str, Any]) -> list[Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise malformed("its answer has no choices")
    return choices


def chunk_choices(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Choices of a streamed chunk. Each must still pass ``check_chunk``."""
    choices = choices_of(event)
    if not all(isinstance(choice, dict) for choice in choices):
        raise malformed("a chunk of its answer is broken")
    return choices


def place_of(choice: Mapping[str, Any]) -> int:
    """The choice's index in the request."""
    place = choice.get("index", 0)
    if type(place) is not int:
        raise malformed("a choice has no index")
    return place


def check_chunk(choice: Mapping[str, Any]) -> None:
    """Raises unless a chunk's choice can be joined with others."""
    delta = choice.get("delta")
    if delta is not None:
        _check_message(delta)
    _check_beside(choice)
    if choice.get("finish_reason") in BROKEN_OFF:
        raise broken_off()


def all_plain(choices: Sequence[Mapping[str, Any]], *, writable: bool) -> bool:
    """Whether every choice passes ``check_whole``, has an index and holds no reasoning.

    ``writable``: all of them are known to be writable as JSON. The result False only means that the
    caller must check each choice.
    """
    if not writable:
        try:
            check_writable(choices)
        except UpstreamError:
            return False
    return all(map(_is_plain, choices))


def _is_plain(choice: Mapping[str, Any]) -> bool:
    """Whether it is a text that has ended, as most choices are."""
    message, finish_reason = choice.get("message"), choice.get("finish_reason")
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and isinstance(message.get("role"), str)
        and message.get("refusal") is None
        and message.get("reasoning") is None
        and message.get("reasoning_content") is None
        and message.get("tool_calls") in _NO_CALLS
        and isinstance(finish_reason, str)
        and finish_reason not in _NO_END
        and type(choice.get("index")) is int
        and isinstance(choice.get("token_ids"), _LIST_OR_NONE)
        and choice.get("logprobs") is None
    )


def check_whole(choice: Mapping[str, Any]) -> None:
    """Raises unless a choice of a whole answer is a usable candidate."""
    _check_message(choice.get("message"))
    _check_beside(choice)
    check_end(choice.get("finish_reason"))
    check_writable(choice)


def check_end(finish_reason: str | None) -> None:
    if not finish_reason or finish_reason in BROKEN_OFF:
        raise broken_off()


def broken_off() -> UpstreamError:
    return malformed("its engine broke the candidate off")


def check_writable(value: object) -> None:
    """Raises unless ``value`` can be written as JSON inside the gateway's own answer. orjson reads
    1024 levels but writes 254, and a loosely read answer may hold even more."""
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])
    except TypeError:
        raise malformed("a choice cannot be written as JSON") from None


def _check_message(message: object) -> None:
    if not isinstance(message, dict):
        raise malformed("a choice has no message")
    for name in _TEXTS:
        if not _is_text(message.get(name)):
            raise malformed(f"a message's {name} is not text")
    calls = message.get("tool_calls")
    if calls is None:
        return
    if not isinstance(calls, list) or not all(map(_is_call, calls)):
        raise malformed("a tool call is broken")


def _is_call(call: object) -> bool:
    """Whether it is a tool call, or a piece of one."""
    if not isinstance(call, dict):
        return False
    function = call.get("function")
    if function is None:
        function = {}
    return (
        isinstance(function, dict)
        and type(call.get("index") or 0) is int
        and all(_is_text(call.get(name)) for name in ("id", "type"))
        and all(_is_text(function.get(name)) for name in ("name", "arguments"))
    )


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _check_beside(choice: Mapping[str, Any]) -> None:
    if not _is_text(choice.get("finish_reason")):
        raise malformed("a finish reason is not text")
    token_ids = choice.get("token_ids")
    if token_ids is not None and not isinstance(token_ids, list):
        raise malformed("a choice's token ids are not a list")
    logprobs = choice.get("logprobs")
    if logprobs is None:
        return
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else 0
    if tokens is not None and not (isinstance(tokens, list) and all(map(_is_token, tokens))):
        raise malformed("a choice's logprobs are broken")


def _is_token(token: object) -> bool:
    if not isinstance(token, dict):
        return False
    logprob = token.get("logprob")
    return (
        isinstance(logprob, int | float)
        and not isinstance(logprob, bool)
        and math.isfinite(logprob)
    )
