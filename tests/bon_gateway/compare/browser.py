"""A headless Chromium over its DevTools protocol: what a page looks like and what it asks for."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Tab:
    """One page. ``requests`` and ``errors`` are of everything that was loaded in it."""

    socket: aiohttp.ClientWebSocketResponse
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    loaded: int = 0
    _last: int = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        wanted = self._last
        await self.socket.send_json({"id": wanted, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json(timeout=30)
            if message.get("id") == wanted:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    async def show(self, page: Path, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        before = self.loaded
        await self.call("Page.navigate", url=page.as_uri())
        while self.loaded == before:
            self._note(await self.socket.receive_json(timeout=30))

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self.loaded += 1
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                if params["entry"]["level"] in ("error", "warning"):
                    self.errors.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(params["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled":
                self.errors.append(str(params["args"]))


@asynccontextmanager
async def tab(program: str, profile: Path) -> AsyncIterator[Tab]:
    process = await asyncio.create_subprocess_exec(
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        port = await _port(process)
        async with aiohttp.ClientSession() as session:
            pages: list[dict[str, Any]] = []
            while not pages:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [one for one in await answer.json() if one["type"] == "page"]
            url = pages[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(url, max_msg_size=0) as socket:
                opened = Tab(socket)
                for domain in ("Page", "Network", "Log", "Runtime"):
                    await opened.call(f"{domain}.enable")
                yield opened
    finally:
        process.kill()
        # Its pipe is read to the end, or the transport is closed only by the collector.
        await process.communicate()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while line := (await process.stderr.readline()).decode():
            if "DevTools listening on" in line:
                return int(line.split("127.0.0.1:")[1].split("/")[0])
    raise AssertionError("the browser did not start")
