"""Asks one arm one prompt, and measures. Every request gets a record, also one that fails."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from yarl import URL

from bon_gateway.backends.http.client import HttpClient, base_url, encode
from bon_gateway.backends.http.faults import Fault, UpstreamError, malformed
from bon_gateway.compare.settings import ArmSettings, LoadSettings
from bon_gateway.compare.types import ArmRecord, Key, ListedCandidate

CONNECT_TIMEOUT_S = 5.0
CANDIDATE_SEED_STEP = 1000
"""The gateway draws candidate i with seed + i, so seeds of different requests lie this far
apart."""


FRESH = {"cache-control": "no-store"}
"""Headers of a request whose cost is measured: cached candidates would cost nothing."""


class ArmClient:
    """One arm's endpoint. Its failures become records and raise nothing."""

    def __init__(
        self,
        settings: ArmSettings,
        url: str,
        sampling: Mapping[str, Any],
        load: LoadSettings,
        environ: Mapping[str, str],
    ) -> None:
        self._url = URL(f"{base_url(url)}/v1/chat/completions")
        self._stream = load.stream
        self._body: dict[str, Any] = {"model": settings.model, **sampling, **settings.sampling}
        if settings.bon is not None:
            bon = settings.bon.model_dump(exclude_none=True)
            self._body["bon"] = {**bon, "return_candidates": True}
        if load.stream:
            self._body |= {"stream": True, "stream_options": {"include_usage": True}}
        self._http = open_client(settings.api_key_env, load.timeout_s, environ)

    async def close(self) -> None:
        await self._http.close()

    async def ask(
        self,
        key: Key,
        messages: Sequence[Mapping[str, Any]],
        seed: int,
        *,
        start: float,
        intended_s: float,
    ) -> ArmRecord:
        """``start`` is the phase's, on ``time.perf_counter``; ``intended_s`` counts from it."""
        body = encode({**self._body, "messages": messages, "seed": seed})
        sent_s = time.perf_counter() - start
        empty = ArmRecord(key, intended_s, sent_s, 0.0)
        first_s: float | None = None
        try:
            if self._stream:
                answer, first_s = await self._streamed(body, start)
            else:
                answer = await self._http.post(self._url, body, FRESH)
            read = _read(answer, empty)
        except UpstreamError as error:
            kind, status = kind_of(error)
            read = replace(empty, outcome=kind, status=status, error=error.message[:500])
        took = time.perf_counter() - start - intended_s
        first = None if first_s is None else first_s - intended_s
        return replace(read, latency_s=took, first_token_s=first)

    async def _streamed(self, body: bytes, start: float) -> tuple[dict[str, Any], float | None]:
        """The whole answer that the chunks make up, and when the first text came."""
        text: list[str] = []
        answer: dict[str, Any] = {}
        reason: str | None = None
        first_s: float | None = None
        async with aclosing(self._http.events(self._url, body, FRESH)) as events:
            async for event in events:
                for name in ("usage", "bon"):
                    if event.get(name) is not None:
                        answer[name] = event[name]
                for choice in event.get("choices") or ():
                    piece = _mapping(_mapping(choice).get("delta")).get("content")
                    if piece:
                        text.append(str(piece))
                        first_s = first_s or time.perf_counter() - start
                    reason = _mapping(choice).get("finish_reason") or reason
        message = {"role": "assistant", "content": "".join(text)}
        return {**answer, "choices": [{"message": message, "finish_reason": reason}]}, first_s


def open_client(
    api_key_env: str | None, timeout_s: float, environ: Mapping[str, str]
) -> HttpClient:
    """An open client, to be closed. It sends the key in the environment variable."""
    key = None if api_key_env is None else environ.get(api_key_env)
    client = HttpClient(api_key=key, connect_timeout_s=CONNECT_TIMEOUT_S, timeout_s=timeout_s)
    client.open()
    return client


def request_seed(seed: int, key: Key, prompts: int) -> int:
    """The same for every arm, so that arms of one policy draw the same answers."""
    return (seed + key.repeat * prompts + key.prompt + 1) * CANDIDATE_SEED_STEP


def kind_of(error: UpstreamError) -> tuple[str, int | None]:
    """A word for a failure, and the HTTP status if there was one."""
    status = error.status or _status_in(error.message)
    if status in _BY_STATUS:
        return _BY_STATUS[status], status
    words = {
        Fault.REFUSED: "refused",
        Fault.OVERLOADED: "overloaded",
        Fault.UNREACHABLE: "unreachable",
        Fault.TIMEOUT: "timeout",
        Fault.FAILED: "malformed" if status is None else "failed",
    }
    return words[error.kind], status


_BY_STATUS = {
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    405: "not_found",
    429: "rate_limited",
}
_STATUS = re.compile(r"\((\d{3})\)")


def _status_in(message: str) -> int | None:
    """``faults`` treats 401, 403, 404 and 405 as mistakes in the gateway's own settings and gives
    them no status. Here they are an arm's, and only the message still has the number."""
    found = _STATUS.search(message)
    return None if found is None else int(found.group(1))


def _read(answer: Mapping[str, Any], empty: ArmRecord) -> ArmRecord:
    """Raises UpstreamError for an answer that is no chat completion."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise malformed("its answer has no choices")
    choice = _mapping(choices[0])
    message = choice.get("message")
    if not isinstance(message, dict):
        raise malformed("its answer has no message")
    usage, bon = _mapping(answer.get("usage")), _mapping(answer.get("bon"))
    paid = _mapping(bon.get("usage"))
    generated = _count(usage.get("completion_tokens"))
    return replace(
        empty,
        text=str(message.get("content") or ""),
        finish_reason=_text(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=generated,
        winner_tokens=_count(paid.get("winner_tokens")) if bon else generated,
        discarded_tokens=_count(paid.get("discarded_tokens")),
        reward_tokens=_count(paid.get("reward_tokens")),
        n=_count(bon.get("n")) or 1,
        reward=_number(bon.get("reward")),
        degraded=_text(bon.get("degraded")),
        candidates=tuple(_listed(_mapping(c)) for c in bon.get("candidates") or ()),
        timings_ms={
            name: float(value)
            for name, value in _mapping(bon.get("timings_ms")).items()
            if isinstance(value, int | float)
        },
    )


def _listed(candidate: Mapping[str, Any]) -> ListedCandidate:
    content = _mapping(candidate.get("message")).get("content")
    return ListedCandidate(
        status=str(candidate.get("status")),
        reward=_number(candidate.get("reward")),
        tokens=_count(candidate.get("tokens")),
        text=_text(content),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
