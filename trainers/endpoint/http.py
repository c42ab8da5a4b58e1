"""Asks a server over HTTP and retries; nothing else in the trainers retries.

A request that waiting cannot help fails at once; a wrong key or address ends the run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import aiohttp

from trainers.base.errors import RunError, SettingsError
from trainers.endpoint.settings import ServerAccess

PASSING = frozenset({408, 409, 425, 429})
"""Refusals after which a retry may succeed, as after all 5xx."""
HOPELESS = frozenset({401, 403, 404, 405})
"""Refusals that every other request would get too."""
LONGEST_PAUSE_S = 30.0


class RequestFailedError(Exception):
    """One request got no answer. The message is a reason by which failures are counted."""


class HopelessError(RunError):
    """A refusal that every other request would get too."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)  # alone: an exception is unpickled from these arguments
        self.status = status


class JsonClient:
    """``async with JsonClient(settings) as client: await client.post("/score", {...})``."""

    def __init__(self, settings: ServerAccess) -> None:
        """Raises SettingsError if the variable with the key is not set."""
        self.settings = settings
        # Samples must be new, also from a gateway that caches candidates.
        self._headers = {"cache-control": "no-store"}
        if settings.api_key_env is not None:
            key = os.environ.get(settings.api_key_env)
            if not key:
                raise SettingsError(f"api_key_env: {settings.api_key_env} is not set")
            self._headers["authorization"] = f"Bearer {key}"
        self._places = asyncio.Semaphore(settings.concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._jitter = random.Random()  # clients that were refused together come back apart

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self.settings.timeout_s),
            connector=aiohttp.TCPConnector(limit=self.settings.concurrency),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object of a 200.

        Raises RequestFailedError when the server refuses this request or the retries are used
        up, and HopelessError when it would refuse every other one as well.
        """
        for attempt in range(self.settings.retries + 1):
            async with self._places:
                status, content, after = await self._once(path, body)
            if status == 200:
                if isinstance(content, dict):
                    return content
                raise RequestFailedError("the answer is no JSON object")
            reason = f"status {status}: {_reason(content)}" if status else str(content)
            if status in HOPELESS:
                raise HopelessError(f"{self.settings.url}{path}: {reason}", status)
            if status and status not in PASSING and status < 500:
                raise RequestFailedError(reason)
            if attempt < self.settings.retries:
                await asyncio.sleep(self._pause(attempt, after))
        if self.settings.retries:
            reason = f"no answer after {self.settings.retries + 1} attempts: {reason}"
        raise RequestFailedError(reason)

    async def _once(self, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any, str | None]:
        """Status, content and Retry-After; without an answer status 0 and the reason."""
        assert self._session is not None, "used outside of its block"
        try:
            async with self._session.post(f"{self.settings.url}{path}", json=body) as response:
                after = response.headers.get("retry-after")
                try:
                    return response.status, await response.json(content_type=None), after
                except ValueError:
                    return response.status, None, after
        except TimeoutError:
            return 0, f"no answer within {self.settings.timeout_s:g} s", None
        except aiohttp.ClientError as error:
            return 0, f"{type(error).__name__}: {error}", None

    def _pause(self, attempt: int, after: str | None) -> float:
        pause = min(self.settings.backoff_s * 2.0**attempt, LONGEST_PAUSE_S)
        pause *= self._jitter.uniform(0.5, 1.0)
        if after is not None and after.isdecimal():
            return max(pause, min(float(after), LONGEST_PAUSE_S))
        return pause


def _reason(content: Any) -> str:
    """The message in an error as OpenAI or vLLM write it."""
    error = content.get("error") if isinstance(content, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(message.split())[:200] if isinstance(message, str) else "no reason given"


class FailureLimit:
    """Counts failed requests by reason; too many in a row end the run."""

    def __init__(self, url: str, give_up_after: int) -> None:
        self.reasons = Counter[str]()
        self._url = url
        self._give_up_after = give_up_after
        self._in_a_row = 0

    def figures(self) -> dict[str, int]:
        return {f"failed: {reason}": count for reason, count in self.reasons.items()}

    def succeeded(self) -> None:
        self._in_a_row = 0

    def failed(self, reason: str) -> None:
        """Count a failure. Raises RunError if there were too many since the last success."""
        self.reasons[reason] += 1
        self._in_a_row += 1
        if self._in_a_row >= self._give_up_after:
            raise RunError(f"{self._url}: {self._in_a_row} failures in a row, the last: {reason}")
