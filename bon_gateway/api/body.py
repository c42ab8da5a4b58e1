"""A whole body in, a whole body out, on plain ASGI.

``read_json`` bounds what a body may cost before it is parsed: its bytes are capped by the edge, its
values and its depth here. A few megabytes of ``[],[],[]`` would otherwise hold the event loop, and
with it every other client, for as long as it takes to make millions of objects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from bon_common.json_values import SLICE, exceeds
from bon_gateway.errors import BadRequestError, UnsupportedMediaTypeError

DEPTH = 200
"""Levels of a body. What is read must be written again, around it what the gateway adds."""
_WRITABLE = 254
"""Levels that orjson writes; it reads more."""
_LONG = b"0" * 19
"""Digits of the shortest integer that may not fit 64 bits."""
_DIGITS = bytes(ord("0") if chr(byte).isdigit() else byte for byte in range(128)) + bytes(
    range(128, 256)
)


async def read_json(scope: Scope, receive: Receive, max_values: int) -> Any:
    """The JSON in the request's body. Raises UnsupportedMediaTypeError if it is not declared as
    JSON, BadRequestError if it is none or is beyond a limit, ClientDisconnect if the client leaves
    before its end."""
    _check_media_type(scope)
    data = await read_body(receive)
    if await exceeds(data, max_values):
        raise BadRequestError(f"the body holds more than {max_values} values")
    value = _parse(data)
    if data.count(b"[") + data.count(b"{") > DEPTH:
        _check_depth(value)
    if len(data) > SLICE:
        await asyncio.sleep(0)
    if _LONG in data.translate(_DIGITS):
        _check_integers(data)
    return value


async def read_body(receive: Receive) -> bytes:
    """The request's body. Raises ClientDisconnect if the client leaves before its end."""
    blocks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        blocks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(blocks)


async def send_json(send: Send, body: bytes, headers: Mapping[str, str]) -> None:
    """A response of status 200."""
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    lines += [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _check_media_type(scope: Scope) -> None:
    """A browser sends any page's POST without asking, as long as it is not declared as JSON."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
            if media_type == b"application/json" or media_type.endswith(b"+json"):
                return
            break
    raise UnsupportedMediaTypeError("the body must be JSON: content-type: application/json")


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from None


def _check_depth(value: Any) -> None:
    """By writing it, inside of as many lists as leave ``DEPTH`` levels: C finds out faster than a
    walk through it would."""
    for _ in range(_WRITABLE - DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise BadRequestError(f"the body is nested deeper than {DEPTH} levels") from None


def _check_integers(data: bytes) -> None:
    """The fast parser takes an integer that does not fit 64 bits for a float, which would change
    it on its way to the policy."""
    json.loads(data, parse_int=_fitting)


def _fitting(digits: str) -> int:
    # A longer one takes Python very long to convert, if it converts it at all.
    number = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise BadRequestError("the body holds an integer that does not fit 64 bits")
    return number
