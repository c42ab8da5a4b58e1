"""HTTP to one upstream pool: the client, and JSON in and out.

Nothing here retries a call that an upstream may have begun to work on. The one exception is a kept
connection that was closed while it was idle: nobody has heard the call, so it goes out once more.
"""

from __future__ import annotations

import base64
import math
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from yarl import URL

from bon_gateway.backends.http.connection import (
    MAX_BODY_BYTES,
    Connection,
    HungUpError,
    TransportError,
    UnusableAnswerError,
)
from bon_gateway.backends.http.faults import (
    Fault,
    UpstreamError,
    cut_off,
    malformed,
    status_error,
    transport_error,
)
from bon_gateway.backends.http.loose_json import read_loosely
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.origin import Origin
from bon_gateway.backends.http.sse import EventParser


def base_url(url: str) -> str:
    """The address without a trailing slash or ``/v1``."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def encode(body: Mapping[str, Any]) -> bytes:
    """A request as JSON. Raises UpstreamError for what JSON lacks: lone surrogates, huge
    integers."""
    try:
        return orjson.dumps(body, default=dict)
    except orjson.JSONEncodeError:
        raise UpstreamError(
            Fault.REFUSED, "The request holds a value that cannot be written as JSON.", status=400
        ) from None


FEW_LEVELS = 200
"""An answer with this many levels can still be written inside the gateway's own answer: orjson
writes 254 levels."""


class JsonAnswer(NamedTuple):
    body: dict[str, Any]
    writable: bool
    """Whether all of it can surely be written as JSON. If not, callers check each part."""


def read_answer(payload: bytes) -> JsonAnswer:
    """The JSON object in ``payload``. Values that JSON does not have are read, but cannot be
    written again. Raises UpstreamError if there is no object."""
    try:
        body = orjson.loads(payload)
        # Only its depth could keep it from being written, and that is at most its opening brackets.
        writable = payload.count(b"[") + payload.count(b"{") <= FEW_LEVELS
    except orjson.JSONDecodeError:
        try:
            body = read_loosely(payload)
        except ValueError:
            raise malformed("its answer is not JSON") from None
        writable = False
    if not isinstance(body, dict):
        raise malformed("its answer is not a JSON object")
    return JsonAnswer(body, writable)


def finite(number: Any) -> float:
    """Raises UpstreamError: as a reward, infinity always wins and a NaN wins by accident."""
    if type(number) not in (float, int) or not math.isfinite(number):
        raise malformed("a reward is not a finite number")
    return float(number)


def model_name(models: bytes) -> str:
    """The first name in an answer of ``/v1/models``. Raises UpstreamError if there is none."""
    data = read_answer(models).body.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        name = data[0].get("id")
        if isinstance(name, str):
            return name
    raise malformed("it lists no model")


class HttpClient:
    """Talks to the configured addresses over connections that it keeps, and follows no redirect."""

    def __init__(
        self,
        *,
        api_key: str | None,
        connect_timeout_s: float,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        look_up: LookUp = look_up,
        max_answer_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """``tls`` is for https; None trusts the system's authorities. ``look_up`` finds the hosts'
        addresses. ``max_answer_bytes`` bounds a whole answer, and one event of a stream."""
        self._api_key = api_key
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._tls = tls
        self._look_up = look_up
        self._max_answer_bytes = max_answer_bytes
        self._opened = False
        self._origins: dict[URL, Origin] = {}
        self._targets: dict[URL, _Target] = {}

    def open(self) -> None:
        """Needs a running event loop."""
        self._opened = True

    async def close(self) -> None:
        self._opened = False
        for origin in self._origins.values():
            await origin.close()
        self._origins.clear()
        self._targets.clear()

    async def get(self, url: URL) -> bytes:
        """The body of a 200, within the connect timeout. Raises UpstreamError.

        The connection is closed afterwards: regular probes would keep it open forever.
        """
        target = self._target(url)
        head = b"GET %bconnection: close\r\n\r\n" % target.head
        return await self._whole(target, head, b"", self._connect_timeout_s, last=True)

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object of a 200. Raises UpstreamError."""
        return (await self.ask(url, body, headers)).body

    async def ask(self, url: URL, body: bytes, headers: Mapping[str, str]) -> JsonAnswer:
        """Like ``post``, for callers that pass parts of the answer on. Raises UpstreamError."""
        return read_answer(await self.payload(url, body, headers))

    async def payload(self, url: URL, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The body of a 200, for callers that read it in their own way. Raises UpstreamError."""
        target = self._target(url)
        return await self._whole(target, _post(target, body, headers), body, self._timeout_s)

    async def events(
        self, url: URL, body: bytes, headers: Mapping[str, str]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """JSON objects of a server-sent event stream up to ``[DONE]``; close it with aclosing.

        Raises UpstreamError, also for an error event and for an end without ``[DONE]``.
        """
        target = self._target(url)
        done = False
        try:
            head = _post(target, body, headers)
            connection = await self._answering(target, head, body, self._timeout_s)
            try:
                status = await connection.status()
                if status != 200:
                    raise await self._refusal(connection, status)
                parser = EventParser(self._max_answer_bytes)
                while block := await connection.block():
                    for payload in parser.feed(block):
                        # The stream is still read to its end, so that the connection is kept.
                        done = done or payload.strip() == b"[DONE]"
                        if not done:
                            yield _event(payload)
                for payload in parser.end():
                    done = done or payload.strip() == b"[DONE]"
                    if not done:
                        yield _event(payload)
            finally:
                target.origin.give_back(connection)
        except (TransportError, TimeoutError) as error:
            if not done:
                raise transport_error(error) from error
        if not done:
            raise cut_off("its answer was cut off")

    async def _answering(
        self,
        target: _Target,
        head: bytes,
        body: bytes,
        timeout_s: float,
        *,
        whole: bool = False,
        last: bool = False,
    ) -> Connection:
        """A connection whose answer has begun, or has ended if ``whole``. Callers give it back.

        A kept connection may have been closed while it was idle. If it hangs up before a byte of
        an answer, and too soon for the upstream to have worked on the call, the call goes out once
        more over a new connection. Raises TransportError and TimeoutError.
        """
        origin = target.origin
        connection = await origin.take()
        try:
            try:
                started = connection.send(head, body, timeout_s, last=last)
                await (connection.ended() if whole else connection.status())
            except HungUpError as error:
                if not error.stale or connection.elapsed(started) > self._connect_timeout_s:
                    raise
                origin.give_back(connection)
                connection = await origin.take_new()
                connection.send(head, body, timeout_s, last=last)
                await (connection.ended() if whole else connection.status())
        except BaseException:
            origin.give_back(connection)
            raise
        return connection

    async def _refusal(self, connection: Connection, status: int) -> UpstreamError:
        """Raises TransportError and TimeoutError."""
        blocks: list[bytes] = []
        held = 0
        while block := await connection.block():
            blocks.append(block)
            held += len(block)
            if held > self._max_answer_bytes:
                raise UnusableAnswerError(f"it is larger than {self._max_answer_bytes} bytes")
        return status_error(status, b"".join(blocks), connection.header(b"retry-after"))

    async def _whole(
        self, target: _Target, head: bytes, body: bytes, timeout_s: float, *, last: bool = False
    ) -> bytes:
        """The body of a 200. Raises UpstreamError."""
        try:
            connection = await self._answering(target, head, body, timeout_s, whole=True, last=last)
            try:
                status, payload = connection.answer
            finally:
                target.origin.give_back(connection)
        except (TransportError, TimeoutError) as error:
            raise transport_error(error) from error
        if status != 200:
            raise status_error(status, payload, connection.header(b"retry-after"))
        return payload

    def _target(self, url: URL) -> _Target:
        """Raises UpstreamError if the client is closed."""
        if not self._opened:
            raise UpstreamError(Fault.UNREACHABLE, "The client is closed.")
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = self._take_apart(url)
        return target

    def _take_apart(self, url: URL) -> _Target:
        place = url.origin()
        origin = self._origins.get(place)
        if origin is None:
            if self._tls is None and url.scheme == "https":
                self._tls = ssl.create_default_context()
            origin = self._origins[place] = Origin(
                place,
                self._tls,
                self._connect_timeout_s,
                look_up=self._look_up,
                max_body_bytes=self._max_answer_bytes,
            )
        credentials = None
        if self._api_key:
            credentials = f"Bearer {self._api_key}"
        elif url.user is not None:
            pair = f"{url.user}:{url.password or ''}"
            credentials = f"Basic {base64.b64encode(pair.encode()).decode()}"
        lines = [
            f"{url.raw_path_qs} HTTP/1.1",
            f"host: {url.host_port_subcomponent}",
            "accept: */*",
            "accept-encoding: identity",
            "user-agent: bon-gateway",
            *([f"authorization: {credentials}"] if credentials else ()),
        ]
        return _Target(origin, _lines(lines))


@dataclass(frozen=True, slots=True)
class _Target:
    """An address, taken apart once."""

    origin: Origin
    head: bytes
    """Head of every request there, after the method."""


def _post(target: _Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    more = _lines([f"{name}: {value}" for name, value in headers.items()])
    return b"POST %bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n" % (
        target.head,
        len(body),
        more,
    )


def _lines(texts: Sequence[str]) -> bytes:
    """Lines of a request's head. Raises ValueError if a text holds a line break."""
    head = "".join([f"{text}\r\n" for text in texts]).encode("latin-1")
    if head.count(b"\r") != len(texts) or head.count(b"\n") != len(texts):
        raise ValueError("a header must be one line")
    return head


def _event(payload: bytes) -> dict[str, Any]:
    event = read_answer(payload).body
    error = event.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        raise status_error(status, payload, None)
    return event
