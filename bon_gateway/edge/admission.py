"""Limits the candidates in flight at once, in all and for one API key, and what a key spends.

It counts candidates and not requests, because a request costs as much as its N. The limits hold for
one worker process. Nothing waits here: a request is admitted or refused at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from bon_gateway.edge.budgets import KeyBudget, KeyBudgets
from bon_gateway.errors import BadRequestError, OverloadedError, RateLimitedError

SMOOTHING = 0.1
"""Weight of the newest request in the moving average of durations."""
LONGEST_RETRY_S = 60


class Admission:
    """Counts candidates in flight.

    ``max_per_key`` None sets no limit for one key. ``on_change`` gets the new total after each
    change, for a gauge.
    """

    def __init__(
        self,
        max_candidates: int,
        max_per_key: int | None = None,
        *,
        budget: KeyBudget = KeyBudget(),  # noqa: B008 - frozen
        on_change: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_candidates = max_candidates
        self._max_per_key = max_per_key
        self.budgets = KeyBudgets(budget, clock)
        self._on_change = on_change
        self._clock = clock
        self._count = _Count()

    def resized(
        self, max_candidates: int, max_per_key: int | None, budget: KeyBudget | None = None
    ) -> Admission:
        """Other limits on the same candidates: those that this one admitted count there too, and
        so does what the keys have spent."""
        other = Admission(max_candidates, max_per_key, on_change=self._on_change, clock=self._clock)
        other._count = self._count
        other.budgets = self.budgets.changed(budget or KeyBudget())
        return other

    @property
    def in_flight(self) -> int:
        return self._count.in_flight

    @property
    def retry_after_s(self) -> float:
        """Whole seconds after which a refused request may find room: about the recent duration of a
        request, from 1 to ``LONGEST_RETRY_S``."""
        return float(min(LONGEST_RETRY_S, max(1, math.ceil(self._count.average_s or 0.0))))

    def hold(
        self, candidates: int, key_name: str | None, most_tokens: int = 0, param: str = "bon"
    ) -> _Hold:
        """Hold room for this many candidates while the body of a ``with`` runs, and for the most
        tokens that they may generate together, if that is known.

        Entering raises OverloadedError if the worker is full, and RateLimitedError if the key has
        its share already or has spent its budget; both have ``retry_after``. A request for more
        than a key's whole share or budget raises BadRequestError, because coming back would not
        help. Without a key (``key_name`` None) only the worker's limit holds.
        ``param`` is the request's parameter that decides how many candidates there are.
        """
        return _Hold(self, candidates, key_name, most_tokens, param)

    def take(
        self, candidates: int, key_name: str | None, most_tokens: int = 0, param: str = "bon"
    ) -> float:
        """What ``hold`` does on entering. Returns the time, for ``release``."""
        held = 0
        if key_name is not None:
            held = self._count.by_key.get(key_name, 0)
            self._check_share(candidates, held, param)
            self.budgets.check(key_name, most_tokens)
        if self._count.in_flight + candidates > self._max_candidates:
            raise OverloadedError(
                "the gateway has as many candidates in flight as it takes",
                retry_after=self.retry_after_s,
            )
        if key_name is not None:
            self._count.by_key[key_name] = held + candidates
            self.budgets.begin(key_name, most_tokens)
        self._change(candidates)
        return self._clock()

    def _check_share(self, candidates: int, held: int, param: str) -> None:
        share = self._max_per_key
        if share is None or held + candidates <= share:
            return
        if candidates > share:
            raise BadRequestError(
                f"the request has {candidates} candidates, and an API key may have {share} in"
                " flight at once",
                param=param,
            )
        raise RateLimitedError(
            f"this API key has {held} candidates in flight and asks for {candidates} more;"
            f" its limit is {share}",
            retry_after=self.retry_after_s,
        )

    def release(
        self, candidates: int, key_name: str | None, since: float, most_tokens: int = 0
    ) -> None:
        """What ``hold`` does on leaving."""
        took_s = self._clock() - since
        count = self._count
        if key_name is not None:
            self.budgets.end(key_name, most_tokens)
            left = count.by_key[key_name] - candidates
            if left:
                count.by_key[key_name] = left
            else:
                del count.by_key[key_name]
        average = count.average_s
        count.average_s = took_s if average is None else average + SMOOTHING * (took_s - average)
        self._change(-candidates)

    def _change(self, by: int) -> None:
        self._count.in_flight += by
        if self._on_change is not None:
            self._on_change(self._count.in_flight)


@dataclass(slots=True)
class _Count:
    """The counts that an Admission and those ``resized`` from it share."""

    in_flight: int = 0
    by_key: dict[str, int] = field(default_factory=dict)
    average_s: float | None = None
    """Moving average of the durations of requests."""


class _Hold:
    """One request's room; a plain class, because a generator would cost three times as much."""

    __slots__ = ("_admission", "_candidates", "_key_name", "_most_tokens", "_param", "_since")

    def __init__(
        self,
        admission: Admission,
        candidates: int,
        key_name: str | None,
        most_tokens: int,
        param: str,
    ) -> None:
        self._admission = admission
        self._candidates = candidates
        self._key_name = key_name
        self._most_tokens = most_tokens
        self._param = param
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = self._admission.take(
            self._candidates, self._key_name, self._most_tokens, self._param
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admission.release(self._candidates, self._key_name, self._since, self._most_tokens)
