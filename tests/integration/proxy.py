"""A reverse proxy in front of a real engine that spoils single candidates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web

from bon_gateway.testing.listener import Listener

Fault = Literal["refuse", "fail", "overload", "cut", "hang"]
STATUS = {"refuse": 400, "fail": 500, "overload": 503}


@dataclass
class SpoilingProxy:
    """``faults`` says what becomes of a candidate, by its index, which the gateway writes at the
    end of the request id. None stands for all candidates."""

    target: str
    port: int
    faults: dict[int | None, Fault] = field(default_factory=dict)
    once: bool = False
    """A candidate is spoilt in its first attempt only."""
    in_progress: int = 0
    """Draws. Health checks come at any time."""
    spoilt: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        self._listener = Listener(self._handle)
        await self._listener.start("127.0.0.1", self.port)

    async def stop(self) -> None:
        await self._listener.stop()
        await self._client.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        draw = request.method == "POST"
        self.in_progress += draw
        try:
            fault = self._fault(request.headers.get("x-request-id", ""))
            if fault == "hang":
                await asyncio.Event().wait()
            if fault in STATUS:
                error = {"message": f"told to {fault}", "type": "T", "code": STATUS[fault]}
                return web.json_response({"error": error}, status=STATUS[fault])
            return await self._forward(request, body, cut=fault == "cut")
        finally:
            self.in_progress -= draw

    def _fault(self, request_id: str) -> Fault | None:
        ending = request_id.rpartition("-")[2]
        if not ending.isdecimal():
            return None
        index = int(ending)
        fault = self.faults.get(index, self.faults.get(None))
        if fault is None or (self.once and index in self.spoilt):
            return None
        self.spoilt.append(index)
        return fault

    async def _forward(
        self, request: web.BaseRequest, body: bytes, *, cut: bool
    ) -> web.StreamResponse:
        headers = {"content-type": "application/json"}
        async with self._client.request(
            request.method, f"{self.target}{request.path}", data=body, headers=headers
        ) as upstream:
            # A length that is promised makes a cut visible.
            kept = {"content-type", "content-length"} & {name.lower() for name in upstream.headers}
            response = web.StreamResponse(
                status=upstream.status, headers={name: upstream.headers[name] for name in kept}
            )
            await response.prepare(request)
            async for block in upstream.content.iter_any():
                if cut:
                    await response.write(block[: len(block) // 2])
                    assert request.transport is not None
                    request.transport.close()
                    break
                await response.write(block)
            return response
