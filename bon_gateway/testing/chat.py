"""The fake generator's answers, in vLLM's own format: whole bodies and streamed chunks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bon_gateway.testing.script import Call, Step, fake_tokens

DEFAULT_TOKENS = 12
PROMPT_TEXT = "<user>..."
FINGERPRINT = "vllm-fake"


def refusal(body: Mapping[str, Any], models: Collection[str]) -> tuple[int, dict[str, Any]] | None:
    """Status and error of a request that vLLM with these models would refuse."""
    n, temperature = body.get("n") or 1, body.get("temperature")
    if "messages" not in body:
        return 400, _error("Field required", "messages")
    if "model" in body and body["model"] not in models:
        return 404, _error(f"The model `{body['model']}` does not exist.", "model", 404)
    if temperature is not None and temperature < 0:
        return 400, _error("temperature must be non-negative", "temperature")
    if n < 1 or (n > 1 and temperature == 0):
        return 400, _error("n must be 1 when using greedy sampling", "n")
    if body.get("top_logprobs") and not body.get("logprobs"):
        message = "when using `top_logprobs`, `logprobs` must be set to true."
        return 400, _error(message, "top_logprobs")
    if body.get("stream") and body.get("prompt_logprobs") is not None:
        return 400, _error("`prompt_logprobs` are not available when `stream=True`.", None)
    return None


def _error(message: str, param: str | None, code: int = 400) -> dict[str, Any]:
    kind = "NotFoundError" if code == 404 else "BadRequestError"
    return {"message": message, "type": kind, "param": param, "code": code}


@dataclass(frozen=True, slots=True)
class FakeAnswer:
    tokens: tuple[str, ...]
    finish_reason: str
    tool_calls: tuple[Mapping[str, Any], ...]
    reasoning: str | None

    @property
    def ids(self) -> list[int]:
        return [len(token) for token in self.tokens]

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def candidates(call: Call, step: Step) -> list[FakeAnswer]:
    """The answers to a request, one for each of its ``n``."""
    body = call.body
    seed = body.get("seed")
    # Without a seed each request draws answers of its own; greedily all draw the same.
    first = call.ordinal * 1000 if seed is None else seed
    greedy = body.get("temperature") == 0
    return [
        _candidate(body, step, place, 0 if greedy else first + place)
        for place in range(body.get("n") or 1)
    ]


def _candidate(body: Mapping[str, Any], step: Step, place: int, seed: int) -> FakeAnswer:
    if step.text is None:
        length = DEFAULT_TOKENS if step.tokens is None else step.tokens
        tokens = fake_tokens(seed, length if isinstance(length, int) else length[place])
    else:
        head, *tail = step.text.split(" ")
        tokens = (head, *(" " + word for word in tail))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    reason = "tool_calls" if step.tool_calls else "stop"
    if limit is not None and limit < len(tokens):
        tokens, reason = tokens[:limit], "length"
    if step.finish_reason is not None:
        reason = step.finish_reason
    return FakeAnswer(tokens, reason, tuple(step.tool_calls or ()), step.reasoning)


def prompt_ids(body: Mapping[str, Any]) -> list[int]:
    return [len(str(message.get("content"))) for message in body["messages"]]


def _logprobs(tokens: tuple[str, ...], top: int) -> dict[str, Any]:
    """As vLLM lists alternatives: first the token drawn, then the likeliest others, which here are
    likelier."""
    content = []
    for token in tokens:
        drawn = _token(token, -len(token) / 8)
        others = [_token(f"{token}{rank}", -(rank + 1) / len(token) / 8) for rank in range(top)]
        content.append({**drawn, "top_logprobs": [drawn, *others][:top]})
    return {"content": content}


def _prompt_logprobs(body: Mapping[str, Any]) -> list[Any] | None:
    """One entry, which has as many alternatives as vLLM gives each token of the prompt. Without
    words about the prompt an echoed one gets those of the answer."""
    top = body.get("prompt_logprobs")
    if top is None and body.get("echo"):
        top = body.get("top_logprobs") or 0
    return None if top is None else [dict.fromkeys(map(str, range(top)))]


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def whole(
    call: Call,
    drawn: list[FakeAnswer],
    model: str,
    usage_details: Mapping[str, Any] | None = None,
) -> bytes:
    """The body of an answer that is not streamed."""
    body = call.body
    ids, logprobs = body.get("return_token_ids"), body.get("logprobs")
    top = body.get("top_logprobs") or 0
    prompt = prompt_ids(body)
    choices = []
    for place, candidate in enumerate(drawn):
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if candidate.tool_calls else candidate.text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": candidate.reasoning,
        }
        if candidate.tool_calls:
            message["tool_calls"] = candidate.tool_calls
        choices.append(
            {
                "index": place,
                "message": message,
                "logprobs": _logprobs(candidate.tokens, top) if logprobs else None,
                "finish_reason": candidate.finish_reason,
                "stop_reason": None,
                "token_ids": candidate.ids if ids else None,
                "routed_experts": None,
            }
        )
    answer = {
        **_head(call, "chat.completion", model),
        "choices": choices,
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": {
            **_usage(prompt, sum(len(c.tokens) for c in drawn)),
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
            **(usage_details or {}),
        },
        "prompt_logprobs": _prompt_logprobs(body),
        "prompt_token_ids": prompt if ids else None,
        "prompt_text": PROMPT_TEXT if body.get("return_prompt_text") else None,
        "kv_transfer_params": body.get("kv_transfer_params"),
        "ec_transfer_params": None,
        "metrics": None,
    }
    return orjson.dumps(answer)


def _head(call: Call, kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{call.ordinal}", "object": kind, "created": 0, "model": model}


def _usage(prompt: list[int], generated: int) -> dict[str, Any]:
    return {
        "prompt_tokens": len(prompt),
        "total_tokens": len(prompt) + generated,
        "completion_tokens": generated,
    }


@dataclass(frozen=True, slots=True)
class Chunk:
    payload: bytes
    tokens: int = 0
    """The number of tokens in it."""


def chunks(
    call: Call,
    drawn: list[FakeAnswer],
    model: str,
    usage_details: Mapping[str, Any] | None = None,
) -> Iterator[Chunk]:
    """Everything before ``[DONE]``: roles, interleaved deltas, usage."""
    body = call.body
    options = body.get("stream_options") or {}
    continuous = options.get("include_usage") and options.get("continuous_usage_stats")
    ids, top = body.get("return_token_ids"), body.get("top_logprobs") or 0
    prompt = prompt_ids(body)
    head = _head(call, "chat.completion.chunk", model)

    def chunk(choices: list[Any], sent: int, carried: int, **extra: Any) -> Chunk:
        event = {**head, "choices": choices, **extra}
        if continuous or not choices:
            details = usage_details if not choices else None
            event["usage"] = {**_usage(prompt, sent), **(details or {})}
        return Chunk(b"data: %b\n\n" % orjson.dumps(event), carried)

    for place in range(len(drawn)):
        role = {"role": "assistant", "content": ""}
        first = {"index": place, "delta": role, "logprobs": None, "finish_reason": None}
        text = PROMPT_TEXT if body.get("return_prompt_text") else None
        yield chunk([first], 0, 0, prompt_token_ids=prompt if ids else None, prompt_text=text)
    for place, start, end in _turns(drawn, body.get("stream_interval") or 1):
        candidate = drawn[place]
        tokens = candidate.tokens[start:end]
        choice: dict[str, Any] = {
            "index": place,
            "delta": _delta(candidate, start, "".join(tokens)),
            "logprobs": _logprobs(tokens, top) if body.get("logprobs") else None,
            "finish_reason": None,
            "token_ids": candidate.ids[start:end] if ids else None,
        }
        if end == len(candidate.tokens):
            choice["finish_reason"] = candidate.finish_reason
            choice["stop_reason"] = None
        yield chunk([choice], end, len(tokens))
    if options.get("include_usage"):
        total = sum(len(candidate.tokens) for candidate in drawn)
        yield chunk([], total, 0, system_fingerprint=FINGERPRINT)


def _turns(drawn: list[FakeAnswer], interval: int) -> Iterator[tuple[int, int, int]]:
    """Candidate and token range of each delta: the first token alone, then every interval."""
    longest = max(len(candidate.tokens) for candidate in drawn)
    start, end = 0, 1
    while True:
        for place, candidate in enumerate(drawn):
            length = len(candidate.tokens)
            if start < length or start == length == 0:
                yield place, start, min(end, length)
        if end >= longest:
            return
        start, end = end, end + interval


def _delta(candidate: FakeAnswer, start: int, text: str) -> dict[str, Any]:
    if not candidate.tool_calls and not candidate.reasoning:
        return {"content": text}
    delta: dict[str, Any] = {}
    if start == 0 and candidate.reasoning:
        delta["reasoning"] = candidate.reasoning
    if not candidate.tool_calls:
        delta["content"] = text
    elif start <= 1:  # the first piece of a call has its name, the second most of its arguments
        calls = enumerate(candidate.tool_calls)
        delta["tool_calls"] = [_piece(index, call, start) for index, call in calls]
    return delta


def _piece(index: int, call: Mapping[str, Any], start: int) -> dict[str, Any]:
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if start == 1:
        return {"index": index, "function": {"arguments": arguments[3:]}}
    function = {"name": name, "arguments": arguments[:3]}
    return {"index": index, "id": call["id"], "type": "function", "function": function}
