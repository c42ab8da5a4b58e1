"""A whole body in, a whole body out, on plain ASGI.

``read_json`` bounds a body's cost before it parses: the edge caps its bytes, this module its values
and its depth. Otherwise a few megabytes of ``[],[],[]`` would block the event loop, and with it
every other client, while millions of objects are made.
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
"""Levels that a body may have. It must be written again, inside the levels that the gateway
adds."""
_WRITABLE = 254
"""Levels that orjson writes; it reads more."""
_LONG = b"0" * 19
"""Pattern of the shortest integer that may not fit 64 bits, after ``_DIGITS``."""
# Maps every digit to 0, so that a long integer is found by one search for zeros.
_DIGITS = bytes(ord("0") if chr(byte).isdigit() else byte for byte in range(128)) + bytes(
    range(128, 256)
)


async def read_json(scope: Scope, receive: Receive, max_values: int) -> Any:
    """The JSON in the request's body. Raises UnsupportedMediaTypeError if it is not declared as
    JSON, BadRequestError if it is not JSON or exceeds a limit, and ClientDisconnect if the client
    leaves before its end."""
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
    lines += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _check_media_type(scope: Scope) -> None:
    """Only a body that is declared as JSON makes a browser ask before it sends a page's POST."""
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
    """Write ``value`` inside enough lists to leave ``DEPTH`` levels: orjson, in C, finds the
    depth faster than a walk in Python."""
    for _ in range(_WRITABLE - DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise BadRequestError(f"the body is nested deeper than {DEPTH} levels") from None


def _check_integers(data: bytes) -> None:
    """orjson reads an integer that does not fit 64 bits as a float, so the policy would get another
    number. Refuse it."""
    json.loads(data, parse_int=_fitting)


def _fitting(digits: str) -> int:
    # Converting a longer one takes Python very long, or fails.
    number = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise BadRequestError("the body holds an integer that does not fit 64 bits")
    return number
