"""Measures how sure a policy was, by log-probabilities that the client need not have asked for.

For a request with a signal the policy is asked for what the signal reads. The client gets what it
asked for itself, as if nobody else had asked: nothing, or as many alternatives of each token as it
wanted. Policies use ``Measuring`` where they write a request and read a completion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bon_gateway.types import ChatRequest, Completion, Signal

TokenLogprobs = tuple[float, list[float]]
"""The log-probability of the token drawn, and those of the alternatives that the engine lists."""


class Reading:
    """One candidate as a signal reads it, token by token. It keeps one number for each token."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._values: list[float] = []
        self._readable = True

    def add(self, logprobs: object) -> None:
        """Read the tokens of an OpenAI logprobs object. An engine may send any JSON, or none."""
        try:
            content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
            listed = self._signal.top > 0
            self.add_tokens(_numbers(token, listed=listed) for token in content or ())
        except (AttributeError, KeyError, TypeError):
            self.spoilt()

    def add_tokens(self, tokens: Iterable[TokenLogprobs]) -> None:
        """Read further tokens. Some without alternatives, if the signal needs them, make the whole
        candidate unreadable."""
        top, of_token = self._signal.top, self._signal.of_token
        try:
            for own, others in tokens:
                # An engine need not list the likeliest first: vLLM begins with the token drawn.
                others.sort(reverse=True)
                self._values.append(of_token(others[:top] if top else (own,)))
        except (ValueError, OverflowError):
            self.spoilt()

    def spoilt(self) -> None:
        """Some tokens cannot be read, so that the candidate has no confidence."""
        self._readable = False

    @property
    def confidence(self) -> float | None:
        """None if there were no tokens, or some that could not be read."""
        if not self._readable or not self._values:
            return None
        try:
            found = self._signal.of_all(self._values)
        except OverflowError:
            return None
        return found if math.isfinite(found) else None


class Measuring(msgspec.Struct, frozen=True):
    """What one request asks its policy for, and what its client sees of that."""

    signal: Signal
    shown: bool
    """Whether the client itself asked for log-probabilities."""
    shown_top: int
    """How many alternatives of each token it asked for."""

    @classmethod
    def of(cls, request: ChatRequest) -> Measuring | None:
        """None if there is nothing to measure, or if the client's own parameters rule it out."""
        signal, sampling = request.signal, request.sampling
        if signal is None:
            return None
        shown, shown_top = bool(sampling.get("logprobs")), sampling.get("top_logprobs") or 0
        # The engine must refuse what it refuses anyway. Tokens that the client names come in place
        # of the likeliest.
        if (shown_top and not shown) or (signal.top and sampling.get("logprob_token_ids")):
            return None
        return cls(signal, shown, shown_top)

    @property
    def _asked_top(self) -> int:
        # One more than is read: among its first k vLLM lists the token drawn, however unlikely it
        # is, in place of the k-th likeliest.
        return max(self.shown_top, self.signal.top + 1 if self.signal.top else 0)

    @property
    def asks_for_more(self) -> bool:
        """Whether the policy is asked for log-probabilities that the client did not ask for."""
        return not self.shown or self._asked_top > self.shown_top

    def asked(self, request: ChatRequest) -> ChatRequest:
        """The request as the policy gets it."""
        sampling: dict[str, Any] = {**request.sampling, "logprobs": True}
        if self._asked_top > self.shown_top:
            sampling["top_logprobs"] = self._asked_top
            if sampling.get("echo"):
                # vLLM takes ``top_logprobs`` for the echoed prompt too, unless this says otherwise.
                sampling.setdefault("prompt_logprobs", self.shown_top)
        return msgspec.structs.replace(request, sampling=sampling)

    def told(self, logprobs: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """What the client sees of a logprobs object whose form has been checked."""
        if not self.shown or logprobs is None:
            return None
        if self._asked_top == self.shown_top or not logprobs.get("content"):
            return logprobs
        return {**logprobs, "content": [self._cut(token) for token in logprobs["content"]]}

    def _cut(self, token: Mapping[str, Any]) -> Mapping[str, Any]:
        listed = token.get("top_logprobs")
        if not isinstance(listed, list):
            return token
        return {**token, "top_logprobs": listed[: self.shown_top]}


def measured(completion: Completion, measuring: Measuring | None) -> Completion:
    """A completion with all log-probabilities that the policy was asked for, as it is handed on."""
    if measuring is None:
        return completion
    reading = Reading(measuring.signal)
    reading.add(completion.logprobs)
    return msgspec.structs.replace(
        completion,
        logprobs=measuring.told(completion.logprobs),
        confidence=reading.confidence,
    )


def _numbers(token: Mapping[str, Any], *, listed: bool) -> TokenLogprobs:
    others = token.get("top_logprobs") or () if listed else ()
    return token["logprob"], [other["logprob"] for other in others]
