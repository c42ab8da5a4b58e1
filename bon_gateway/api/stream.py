"""Answers as server-sent events.

A strategy that answers in one pass sends deltas while it runs. Any other strategy's winner is sent
as chunks at the end; until then comment lines keep proxies from closing a silent connection. The
headers go out with the first of these, so that an early error keeps its own HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import orjson
from starlette.types import Send

from bon_gateway.api.chunks import winner_choices
from bon_gateway.api.render import AnswerHead, usage
from bon_gateway.errors import GatewayError
from bon_gateway.types import Candidate, Delta, Selection

_OF_PROMPT = frozenset({"prompt_token_ids", "prompt_text"})
_NULL_TOO = frozenset({"logprobs", "finish_reason", "stop_reason", "token_ids"})
"""Fields of a chunk's choice that are passed on even if they are null."""
_DONE = b"data: [DONE]\n\n"
_COMMENT = b": waiting for the candidates\n\n"


class EventStream:
    """Writes one answer's chunks to an ASGI ``send``. It is the strategy's DeltaSink."""

    def __init__(
        self,
        send: Send,
        head: AnswerHead,
        headers: Mapping[str, str],
        *,
        include_usage: bool,
        continuous_usage: bool,
    ) -> None:
        self._send = send
        self._head = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }
        self._headers = headers
        self._include_usage = include_usage
        # As in vLLM, the one has no meaning without the other.
        self._continuous_usage = continuous_usage and include_usage
        self._lock = asyncio.Lock()
        self._written = asyncio.Event()
        self._held: dict[str, Any] | None = None
        self._streamed = False
        self._tail: dict[str, Any] = {}
        """Fields for the last chunk, beside its choices and its usage."""
        self.started = False
        """Whether the response's status has gone out."""
        self.first_token_at: float | None = None
        """``time.perf_counter()`` when the answer's first part went out."""

    async def send(self, index: int, delta: Delta) -> None:
        """Pass one delta on. The chunk with the finish reason is held until ``finish``, because it
        may be the last one, which carries more fields."""
        self._streamed = True
        if delta.choice is None:
            self._tail.update(delta.extra)
            return
        if self.first_token_at is None and _says_something(delta.choice):
            self.first_token_at = perf_counter()
        chunk = self._chunk([_clean_choice({**delta.choice, "index": index})])
        chunk.update(delta.extra)
        if self._continuous_usage and delta.tokens is not None:
            prompt = delta.prompt_tokens or 0
            chunk["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": delta.tokens,
                "total_tokens": prompt + delta.tokens,
            }
        if delta.choice.get("finish_reason"):
            self._held = chunk
        else:
            await self._write(_event(chunk))

    async def keep_alive(self, interval_s: float) -> None:
        """Write a comment after every ``interval_s`` seconds of silence."""
        while True:
            self._written.clear()
            try:
                # Not wait_for: on Python 3.11 it loses a cancellation that comes with the event.
                async with asyncio.timeout(interval_s):
                    await self._written.wait()
            except TimeoutError:
                await self._write(_COMMENT)

    async def finish(
        self, selection: Selection, bon: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        """Send the rest of the answer, including its end."""
        self._headers = {**self._headers, **headers}
        chunks = [self._held] if self._held is not None else []
        if not self._streamed:
            chunks += self._winner_chunks(selection)
            self._add_extra(selection.winner, chunks[0])
        if self.first_token_at is None:
            self.first_token_at = perf_counter()
        if self._include_usage:
            chunks.append(self._chunk([]) | {"usage": usage(selection)})
        if not chunks:
            chunks.append(self._chunk([]))
        chunks[-1] |= self._tail
        chunks[-1]["bon"] = bon
        await self._write(b"".join(map(_event, chunks)) + _DONE, last=True)

    async def fail(self, error: GatewayError) -> None:
        """End a response that has begun with an error event."""
        await self._write(_event(error.body()), last=True)

    def _add_extra(self, winner: Candidate, first: dict[str, Any]) -> None:
        """Put the fields beside the choices where vLLM streams them: those about the prompt into
        the first chunk, all others into the last."""
        completion = winner.completion
        for name, value in ({} if completion is None else completion.response_extra).items():
            if value is not None:
                (first if name in _OF_PROMPT else self._tail)[name] = value

    def _winner_chunks(self, selection: Selection) -> list[dict[str, Any]]:
        chunks = []
        for position, winner in enumerate(selection.winners):
            completion = selection.candidates[winner].completion
            assert completion is not None, "a winner has a completion"
            chunks += [self._chunk([choice]) for choice in winner_choices(completion, position)]
        if self._continuous_usage:
            # Everything was generated, and so paid, before the first chunk.
            paid = usage(selection)
            for chunk in chunks:
                chunk["usage"] = paid
        return chunks

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {**self._head, "choices": choices}
        if self._include_usage:
            chunk["usage"] = None
        return chunk

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        async with self._lock:
            if not self.started:
                self.started = True
                raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self._headers.items()]
                fixed = [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-cache"),
                    # Without this nginx, and proxies like it, buffer the response.
                    (b"x-accel-buffering", b"no"),
                ]
                await self._send(
                    {"type": "http.response.start", "status": 200, "headers": raw + fixed}
                )
            self._written.set()
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})


def _says_something(choice: Mapping[str, Any]) -> bool:
    """Whether a chunk holds more than the role."""
    delta = choice.get("delta") or {}
    return any(value for name, value in delta.items() if name != "role")


def _clean_choice(choice: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in choice.items() if v is not None or k in _NULL_TOO}
    kept.setdefault("finish_reason", None)
    kept["delta"] = _clean_delta(choice.get("delta") or {})
    return kept


def _clean_delta(delta: Mapping[str, Any]) -> dict[str, Any]:
    """The delta without nulls and without an empty list of tool calls."""
    return {k: v for k, v in delta.items() if v is not None and not (k == "tool_calls" and not v)}


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
