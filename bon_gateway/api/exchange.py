"""A whole body in, a whole body out, on plain ASGI."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Send


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
