"""An operator's own function says whether an answer is right.

A plain function is called in a thread, one call at a time, because it may not be safe to run
several at once. An ``async`` function runs in the event loop, several calls at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

from bon_common.hooks import HookName, is_async, load_hook
from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.unexpected import log_unexpected
from bon_gateway.verdicts import PASSED, Verdict, abstained, failed
from bon_gateway.verifiers.scored import ScoredSettings, scored
from bon_gateway.verifiers.verifier import Verifier

ARGUMENTS = ("messages", "answers", "metadata")
MOST_REASON = 200
"""Largest number of characters of a reason."""
_log = logging.getLogger(__name__)


class FunctionVerifierSettings(ScoredSettings):
    """Your own function says whether an answer is right. It runs in the gateway's process, so it
    must not run code that a model wrote."""

    type: Literal["function"]
    function: HookName
    """``package.module:function``, plain or ``async``. It gets the conversation's messages, a list
    of messages that answer it, and the request's ``metadata``. For each answer it returns true,
    false, a score, None (it cannot say), or a pair of one of these and the reason in a few words.
    A number is a score, 0 and 1 too: in a ``verifier`` it is an abstention unless you set
    ``pass_threshold``. Only the settings file may name it."""

    @property
    def decides(self) -> bool:
        """It may return true and false, which need no threshold."""
        return True

    def check(self) -> None:
        load_hook(self.function, *ARGUMENTS)

    def build(self, keys: FindKey) -> FunctionVerifier:
        return FunctionVerifier(self, load_hook(self.function, *ARGUMENTS))


class FunctionVerifier(Verifier):
    def __init__(self, settings: FunctionVerifierSettings, function: Callable[..., Any]) -> None:
        self._name = settings.function
        self._threshold = settings.pass_threshold
        self._function = function
        self._waits = is_async(function)
        self._alone = asyncio.Lock()

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        try:
            given = [*await self._call(request, answers)]
            if len(given) != len(answers):
                raise ValueError(f"it returned {len(given)} verdicts for {len(answers)} answers")
            return [self._verdict(one) for one in given]
        except Exception as error:  # noqa: BLE001 - it is the operator's own code
            fields = {"request_id": request.request_id, "function": self._name}
            log_unexpected(_log, "the function that verifies answers failed", error, fields)
            return [abstained("error") for _ in answers]

    async def _call(self, request: RewardRequest, answers: Sequence[Message]) -> Any:
        arguments = request.messages, answers, request.metadata
        if self._waits:
            return await self._function(*arguments)
        async with self._alone:
            # In the thread, because a generator works while it is read.
            return await asyncio.to_thread(lambda: [*self._function(*arguments)])

    def _verdict(self, given: Any) -> Verdict:
        """Raises ValueError or TypeError for an invalid verdict."""
        said, reason = given if isinstance(given, tuple) else (given, None)
        if reason is not None:
            reason = str(reason)[:MOST_REASON]
        if said is None:
            return abstained(reason or "no_verdict")
        if callable(getattr(said, "item", None)):
            said = said.item()  # a truth value or a number of numpy or torch
        if isinstance(said, bool):
            return Verdict(PASSED.outcome, reason) if said else failed(reason or "failed")
        if not isinstance(said, Real | Decimal):
            raise TypeError(f"it returned a {type(said).__name__} as a verdict")
        score = float(said)
        if not math.isfinite(score):
            raise ValueError("a score is not finite")
        return scored(score, self._threshold, reason)
