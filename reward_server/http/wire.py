"""Between HTTP and the schema: bodies in, answers and errors out."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

import msgspec
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from bon_common.http.disconnect import ClientLeft
from bon_common.http.quoted import MESSAGE, PARAM, quoted
from bon_common.json_values import exceeds
from reward_server.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    ScoreError,
    UnauthorizedError,
    UnavailableError,
)
from reward_server.schema import ErrorBody, ErrorResponse

T = TypeVar("T")

LARGE_BODY = 256 * 1024
"""A body of this many bytes takes so long to decode that other requests would notice."""

CLIENT_LEFT = 499
"""Status in logs and metrics of a request whose caller hung up. No client sees it."""


async def read_body(request: Request, limit: int) -> bytes:
    """Read at most `limit` bytes.

    Raises BodyTooLargeError, where possible before reading, and ClientLeft.
    """
    too_large = BodyTooLargeError(f"the body is over {limit} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
    except ClientDisconnect as error:
        raise ClientLeft from error
    return bytes(body)


async def decode(body: bytes, kind: type[T], max_values: int) -> T:
    """The body as one of the wire models; large ones are decoded in a thread.

    Raises InvalidRequestError, with the JSON path where the body is not what it should be.
    """
    if await exceeds(body, max_values):
        raise InvalidRequestError(f"the body holds more than {max_values} values")
    if len(body) > LARGE_BODY:
        return await asyncio.to_thread(_decode, body, kind)
    return _decode(body, kind)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(str(error), param=_place(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the body is not JSON in UTF-8: {error}") from error
    except RecursionError as error:
        raise InvalidRequestError("the body is nested too deeply") from error


def json_response(value: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_response(error: ScoreError) -> Response:
    """Return OpenAI's error object with the headers that its status asks for."""
    response = json_response(
        ErrorResponse(
            error=ErrorBody(
                message=quoted(error.message, MESSAGE),
                type=error.type,
                code=error.code,
                param=None if error.param is None else quoted(error.param, PARAM),
            )
        ),
        status=error.status,
    )
    if isinstance(error, UnavailableError):
        response.headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, UnauthorizedError):
        response.headers["www-authenticate"] = "Bearer"
    if isinstance(error, BodyTooLargeError):
        response.headers["connection"] = "close"  # what is left of the body goes unread
    return response


def _place(message: str) -> str | None:
    """The path of the field that a message of msgspec's names."""
    text, _, path = message.partition(" - at `$")
    param = path.rstrip("`").lstrip(".")
    field = re.search(r"(?:unknown|required) field `([^`]*)`", text)
    if field:
        param = f"{param}.{field[1]}".lstrip(".")
    return param or None
