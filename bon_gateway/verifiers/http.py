"""The operator's own server says whether an answer is right: tests, a linter, a search.

Code that a model wrote runs there, in the operator's sandbox, never in the gateway.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from yarl import URL

from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, VerdictOutcome, abstained
from bon_gateway.verifiers.asking import AskingVerifier
from bon_gateway.verifiers.calls import UNUSABLE, reason_of
from bon_gateway.verifiers.settings import AskingVerifierSettings

MOST_REASON = 200
"""Largest number of characters of a reason."""


class HttpVerifierSettings(AskingVerifierSettings):
    """Your own server says whether an answer is right. It gets the conversation and one answer by
    ``POST``, and returns a verdict; docs/verifiers.md has the form."""

    type: Literal["http"]

    def build(self, keys: FindKey) -> HttpVerifier:
        return HttpVerifier(self, keys(self.api_key_env))


class _Said(msgspec.Struct):
    outcome: VerdictOutcome
    reason: str | None = None
    score: float | None = None


class _HookAnswer(msgspec.Struct):
    verdicts: Annotated[list[_Said], msgspec.Meta(min_length=1, max_length=1)]


_DECODER = msgspec.json.Decoder(_HookAnswer)


class HttpVerifier(AskingVerifier):
    def __init__(self, settings: HttpVerifierSettings, key: str | None) -> None:
        super().__init__(settings, URL(settings.url), key)

    async def _one(self, request: RewardRequest, answer: Message) -> Verdict:
        body = {
            "messages": request.messages,
            "tools": request.tools,
            "metadata": request.metadata,
            "answers": [answer],
        }
        try:
            payload = await self._calls.post(body, request.headers())
        except UpstreamError as error:
            return abstained(reason_of(error))
        try:
            said = _DECODER.decode(payload).verdicts[0]
            if said.score is not None and not math.isfinite(said.score):
                raise ValueError("a score is not finite")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._calls.tell("its answer is not one verdict for one answer")
            return abstained(UNUSABLE)
        reason = (said.reason or "")[:MOST_REASON] or None
        if said.outcome is VerdictOutcome.ABSTAIN:
            return Verdict(said.outcome, reason)  # with a score a reward could be made of it
        return Verdict(said.outcome, reason, said.score)
