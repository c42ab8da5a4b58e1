"""Calls of verifiers to a server, with a limit at once, and a retry after errors that may pass.

This is the only retry layer of these calls. It does not follow redirects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from yarl import URL

from bon_gateway.backends.http.client import HttpClient, encode
from bon_gateway.backends.http.faults import Fault, UpstreamError
from bon_gateway.verifiers.settings import AskingVerifierSettings

BACKOFF_S = 0.1
LONGEST_WAIT_S = 2.0
"""Longest wait before another try, whatever Retry-After says: candidates wait meanwhile."""
UNUSABLE = "unusable_answer"
_REASONS = {
    Fault.REFUSED: "refused",
    Fault.OVERLOADED: "overloaded",
    Fault.FAILED: UNUSABLE,
    Fault.CUT: "cut_off",
    Fault.UNREACHABLE: "unreachable",
    Fault.TIMEOUT: "timeout",
}

_log = logging.getLogger(__name__)


class VerifierCalls:
    """``key`` goes to this server and nowhere else."""

    def __init__(self, settings: AskingVerifierSettings, url: URL, key: str | None) -> None:
        self._url = url
        self._place = f"{url.host_port_subcomponent}{url.path.rstrip('/')}"
        self._title = f"{settings.title!r} at {self._place}"
        self._retries = settings.retries
        self._slots = asyncio.Semaphore(settings.at_once)
        self._trouble: str | None = None
        """The last trouble in the log, until a call succeeds."""
        self._client = HttpClient(
            api_key=key,
            connect_timeout_s=settings.connect_timeout_s,
            timeout_s=settings.timeout_s,
            tls=settings.tls,
            max_answer_bytes=settings.max_answer_bytes,
        )

    def open(self) -> None:
        self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def post(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        """The body of a 200. Raises UpstreamError."""
        payload = encode(body)
        tries = self._retries
        while True:
            try:
                async with self._slots:
                    answer = await self._client.payload(self._url, payload, headers)
            except UpstreamError as error:
                if not tries or not _may_pass(error):
                    self.tell(error.message)
                    raise
                tries -= 1
                await asyncio.sleep(min(error.retry_after or BACKOFF_S, LONGEST_WAIT_S))
            else:
                self._well()
                return answer

    async def trial(self) -> Mapping[str, str | None]:
        """See ``Verifier.trial``. An HTTP error is fine, because the server need not know GET."""
        try:
            await self._client.get(self._url)
        except UpstreamError as error:
            if error.status is None or error.status in (401, 403):
                return {self._place: error.message}
        return {self._place: None}

    def tell(self, trouble: str) -> None:
        """Log a trouble once, until a call succeeds."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("the verifier %s cannot verify: %s", self._title, trouble)

    def _well(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            _log.info("the verifier %s answers again", self._title)


def reason_of(error: UpstreamError) -> str:
    """Why a verifier abstains after this error."""
    return _REASONS[error.kind] if error.status is None else f"status_{error.status}"


def _may_pass(error: UpstreamError) -> bool:
    if error.kind in (Fault.OVERLOADED, Fault.UNREACHABLE, Fault.CUT):
        return True
    return error.kind is Fault.FAILED and error.status is not None and error.status >= 500
