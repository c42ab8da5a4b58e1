"""Reads whole answers whose log-probabilities nobody will see: only their numbers are of use.

Of 8 candidates with 1,000 tokens and 6 alternatives each, the log-probabilities are 4.7 MB of JSON.
Read as everything else is, they become 56,000 dictionaries, for which the event loop stands still
for 30 ms, and for longer if Python's garbage collector runs meanwhile. Here they stay bytes until
their candidate's turn, and then only the numbers are read, in one or two milliseconds a candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from bon_gateway.backends.http.client import FEW_LEVELS, JsonAnswer, read_answer
from bon_gateway.logprobs import Reading


class _Alternative(msgspec.Struct, gc=False):
    logprob: float


class _Token(msgspec.Struct, gc=False):
    logprob: float
    top_logprobs: Sequence[_Alternative] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHOICES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_NUMBERS = msgspec.json.Decoder(_Logprobs | None)


async def read_unseen(payload: bytes) -> JsonAnswer:
    """The answer in ``payload``, with each choice's log-probabilities as they stand there, for
    ``read_numbers``. Raises UpstreamError if there is no object.

    What is not in the form of an answer is read as any other, whose reader then finds the fault.
    """
    try:
        parts = _OBJECT.decode(payload)
        # To find where the parts end takes some milliseconds, and as many for the choices.
        await asyncio.sleep(0)
        choices = _CHOICES.decode(parts.pop("choices"))
        await asyncio.sleep(0)
        unseen = [choice.pop("logprobs", None) for choice in choices]
        body = _read(parts)
        body["choices"] = [_read(choice) for choice in choices]
    except (KeyError, UnicodeDecodeError, msgspec.DecodeError, orjson.JSONDecodeError):
        return read_answer(payload)
    pieces = [*parts.values(), *(piece for choice in choices for piece in choice.values())]
    levels = sum(bytes(piece).count(b"[") + bytes(piece).count(b"{") for piece in pieces)
    for choice, found in zip(body["choices"], unseen, strict=True):
        choice["logprobs"] = found
    return JsonAnswer(body, levels <= FEW_LEVELS)


def read_numbers(logprobs: object, reading: Reading) -> None:
    """Have the log-probabilities of one choice read, which it holds after ``read_unseen``."""
    if not isinstance(logprobs, msgspec.Raw):
        reading.add(logprobs)
        return
    try:
        found = _NUMBERS.decode(logprobs)
    except msgspec.DecodeError:
        reading.spoilt()
        return
    tokens = [] if found is None else found.content or []
    reading.add_tokens((t.logprob, [a.logprob for a in t.top_logprobs or ()]) for t in tokens)


def _read(parts: dict[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: orjson.loads(bytes(part)) for name, part in parts.items()}
