"""What one API key may spend in a window of time: requests, and generated tokens.

A key's window begins with its first request after the last one has ended. A request that runs holds
the most tokens that it may generate, as far as its ``max_tokens`` tells; so a key never generates
more than its budget. Of a request without a known most, tokens count when it ends, and those that
run at the same time may pass the budget. The counts belong to one worker process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from bon_gateway.errors import BadRequestError, RateLimitedError


class KeyBudget(msgspec.Struct, frozen=True):
    """None sets no limit."""

    requests: int | None = None
    tokens: int | None = None
    window_s: float = 60.0


@dataclass(slots=True)
class _KeyWindow:
    """What one key has spent."""

    until: float
    """End of its window, by the clock."""
    requests: int = 0
    tokens: int = 0
    held: int = 0
    """Most tokens that its running requests may still generate. It does not end with a window."""


class KeyBudgets:
    """The spending of all keys, by their names."""

    def __init__(self, budget: KeyBudget, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._spent: dict[str, _KeyWindow] = {}

    def changed(self, budget: KeyBudget) -> KeyBudgets:
        """Another budget for the same spending. Windows that have begun keep their end."""
        other = KeyBudgets(budget, self._clock)
        other._spent = self._spent
        return other

    def check(self, key_name: str, most_tokens: int) -> None:
        """Whether another request, which may generate ``most_tokens`` (0 if that is not known), is
        within the budget. Raises RateLimitedError with the rest of the window as ``retry_after``,
        and BadRequestError for a request that no window has room for."""
        budget, spent = self._budget, self._of(key_name)
        if budget.requests is not None and spent.requests >= budget.requests:
            raise self._refusal(spent, f"{spent.requests} requests", f"{budget.requests}")
        if budget.tokens is None:
            return
        if most_tokens > budget.tokens:
            raise BadRequestError(
                f"the request may generate {most_tokens} tokens, and an API key may generate"
                f" {budget.tokens} in {budget.window_s:g} s: ask for fewer candidates or a smaller"
                " max_tokens",
                param="max_tokens",
            )
        # A request of unknown length needs room for one token at least.
        if spent.tokens + spent.held + max(most_tokens, 1) > budget.tokens:
            told = f"{spent.tokens} generated tokens, its running requests may generate"
            raise self._refusal(spent, f"{told} {spent.held}", f"{budget.tokens}")

    def begin(self, key_name: str, most_tokens: int) -> None:
        """Count a request that ``check`` let pass."""
        spent = self._of(key_name)
        spent.requests += 1
        spent.held += most_tokens

    def end(self, key_name: str, most_tokens: int) -> None:
        """A request has ended; what it generated is for ``spend``."""
        self._of(key_name).held -= most_tokens

    def spend(self, key_name: str, tokens: int) -> None:
        self._of(key_name).tokens += tokens

    def headers(self, key_name: str) -> Mapping[str, str]:
        """OpenAI's headers: what is left in this window. Tokens that are held are not left."""
        budget, spent = self._budget, self._of(key_name)
        found: dict[str, str] = {}
        for what, limit, gone in (
            ("requests", budget.requests, spent.requests),
            ("tokens", budget.tokens, spent.tokens + spent.held),
        ):
            if limit is not None:
                found[f"x-ratelimit-limit-{what}"] = str(limit)
                found[f"x-ratelimit-remaining-{what}"] = str(max(0, limit - gone))
                found[f"x-ratelimit-reset-{what}"] = f"{self._left_s(spent)}s"
        return found

    def _of(self, key_name: str) -> _KeyWindow:
        now = self._clock()
        spent = self._spent.get(key_name)
        if spent is None or now >= spent.until:
            held = 0 if spent is None else spent.held
            spent = self._spent[key_name] = _KeyWindow(now + self._budget.window_s, held=held)
        return spent

    def _left_s(self, spent: _KeyWindow) -> int:
        """Whole seconds to the end of the window, at least 1."""
        return max(1, math.ceil(spent.until - self._clock()))

    def _refusal(self, spent: _KeyWindow, has: str, limit: str) -> RateLimitedError:
        window = f"{self._budget.window_s:g} s"
        return RateLimitedError(
            f"this API key has {has} in this window of {window}; its limit is {limit}",
            retry_after=self._left_s(spent),
        )
