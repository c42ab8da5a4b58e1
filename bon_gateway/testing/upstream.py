"""A fake upstream: one loopback server that plays vLLM, the reward server, an embedder and a
verifier.

It is a real server on a real socket, because tests need what in-process transports hide: cut
connections, aborts, streams that arrive in pieces. ``script`` decides how each request is answered;
without one every answer is whole and immediate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import orjson
from aiohttp import web
from yarl import URL

from bon_gateway.testing import chat, embeddings, rewards, verdicts
from bon_gateway.testing.listener import Listener
from bon_gateway.testing.script import PLAIN, Call, Script, Step

CHAT = "/v1/chat/completions"
WHOLE: dict[str, Callable[[Call, Step, str], bytes]] = {
    "/classify": rewards.classify,
    "/v1/embeddings": embeddings.embed,
    "/pooling": rewards.pooling,
    "/v1/score": rewards.score,
    "/v1/prefix": rewards.prefix,
    "/verify": verdicts.verdicts,
}
JUDGES = ("/tokenize", "/generative_scoring")
"""vLLM's further paths for judges. Only a script such as ``FakeJudge`` answers them."""
DONE = b"data: [DONE]\n\n"
UNAUTHORIZED = b'{"error":"Unauthorized"}'


class FakeUpstream:
    """``async with FakeUpstream() as upstream: ... upstream.url``. Counters count requests to
    the generator and the reward models, but not probes."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        model: str = "fake",
        adapters: tuple[str, ...] = (),
        api_key: str | None = None,
        record: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """``adapters`` are names that it serves beside ``model``. ``host`` is a numeric address;
        ``port`` 0 takes a free one."""
        self.script = script
        self.model = model
        self.adapters = adapters
        listed = [{"id": name, "object": "model"} for name in (model, *adapters)]
        self.models = orjson.dumps({"object": "list", "data": listed})
        """What ``/v1/models`` answers."""
        self.healthy = True
        """Whether ``/health`` and ``/readyz`` answer 200."""
        self.probe_hold: asyncio.Event | None = None
        """Both wait until it is set."""
        self.calls: list[Call] = []
        """The requests that came, if ``record``."""
        self.requests = 0
        self.running = 0
        self.max_running = 0
        self.aborted = 0
        """Requests whose client left before the end of the answer."""
        self.tokens_sent = 0
        self.probes = 0
        self.host = host
        self.port = port
        self._api_key = api_key
        self._record = record
        self._listener = Listener(self._handle)

    @property
    def url(self) -> str:
        return str(URL.build(scheme="http", host=self.host, port=self.port))

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._listener.connections

    async def start(self) -> None:
        """After ``stop`` it listens on the same port again."""
        self.port = await self._listener.start(self.host, self.port)

    async def stop(self) -> None:
        """Closes the port and every connection."""
        await self._listener.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in (CHAT, *JUDGES) and request.path not in WHOLE:
            return await self._get(request)
        if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
            return web.Response(status=401, body=UNAUTHORIZED, content_type="application/json")
        try:
            body = orjson.loads(await request.content.read())
        except orjson.JSONDecodeError:
            return _error(400, {"message": "bad JSON", "type": "BadRequestError", "code": 400})
        call = Call(self.requests, request.path, body, request.headers)
        self.requests += 1
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        if self._record:
            self.calls.append(call)
        try:
            return await self._answer(request, call)
        except (asyncio.CancelledError, ConnectionError):
            self.aborted += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        step = PLAIN if self.script is None else self.script(call)
        if step.hold is not None:
            await step.hold.wait()
        if step.delay_s:
            await asyncio.sleep(step.delay_s)
        if step.cut_after == 0:
            return _cut(request)
        if step.status != 200:
            return _error(step.status, step.error, step)
        if step.raw is not None:
            return web.Response(body=step.raw, headers=step.headers)
        if request.path == CHAT:
            return await self._chat(request, call, step)
        if request.path in JUDGES:
            return _error(404, {"message": "Not Found", "type": "NotFoundError", "code": 404})
        return await _whole(request, WHOLE[request.path](call, step, self.model), step)

    async def _get(self, request: web.BaseRequest) -> web.Response:
        if request.path in ("/health", "/readyz"):
            self.probes += 1
            if self.probe_hold is not None:
                await self.probe_hold.wait()
            return web.Response(status=200 if self.healthy else 503)
        if request.path == "/v1/models":
            return web.Response(body=self.models, content_type="application/json")
        if request.path == "/metrics":
            return web.Response(
                text=f"vllm:num_requests_running {float(self.running)}\n"
                f"vllm:generation_tokens_total {float(self.tokens_sent)}\n"
            )
        return _error(404, {"message": "Not Found", "type": "NotFoundError", "code": 404})

    async def _chat(self, request: web.BaseRequest, call: Call, step: Step) -> web.StreamResponse:
        refused = chat.refusal(call.body, (self.model, *self.adapters))
        if refused is not None:
            return _error(*refused)
        if call.body.get("stream") and step.streamed is not None:
            step = step.streamed
        drawn = chat.candidates(call, step)
        if call.body.get("stream"):
            return await self._stream(request, call, step, drawn)
        tokens = sum(len(candidate.tokens) for candidate in drawn)
        if step.token_s:
            await asyncio.sleep(step.token_s * max(len(c.tokens) for c in drawn))
        if step.hang_after is not None:
            await asyncio.Event().wait()
        self.tokens_sent += tokens
        return await _whole(request, chat.whole(call, drawn, self.model, step.usage_details), step)

    async def _stream(
        self, request: web.BaseRequest, call: Call, step: Step, drawn: list[chat.FakeAnswer]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        sent = 0
        for chunk in chat.chunks(call, drawn, self.model, step.usage_details):
            if step.cut_after is not None and sent >= step.cut_after:
                return _cut(request, response)
            if step.hang_after is not None and sent >= step.hang_after:
                await asyncio.Event().wait()
            if step.stream_error is not None and chunk.tokens:
                await response.write(b"data: %b\n\n" % orjson.dumps({"error": step.stream_error}))
                break
            if step.token_s:
                await asyncio.sleep(step.token_s * chunk.tokens / len(drawn))
            await response.write(chunk.payload)
            sent += chunk.tokens
            self.tokens_sent += chunk.tokens
        await response.write(DONE)
        await response.write_eof()
        return response


async def _whole(request: web.BaseRequest, body: bytes, step: Step) -> web.StreamResponse:
    if step.cut_after is None:
        return web.Response(body=body, content_type="application/json", headers=step.headers)
    response = web.StreamResponse(headers={"content-length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    return _cut(request, response)


def _cut(
    request: web.BaseRequest, response: web.StreamResponse | None = None
) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response or web.Response()


def _error(status: int, error: object, step: Step = PLAIN) -> web.Response:
    body = step.raw if step.raw is not None else orjson.dumps({"error": error})
    return web.Response(
        status=status, body=body, content_type="application/json", headers=step.headers
    )
