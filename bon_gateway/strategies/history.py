"""What a served model's earlier requests teach about the next one: see ``RewardHistory``.

Only sufficient statistics are kept, of the newest requests. Fitting, pricing and files take up to a
second, so a thread does them, one step at a time. Requests meanwhile use what was known before.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from bon_common.selection.adaptive.price import matching_price
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards, fit
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import WINDOW as PROBES
from bon_common.selection.pruning.probes import PairSums, Probe, ProbeWindow

LEAST = 50
"""Requests before which nothing is known."""
WINDOW = 512
"""Newest requests that are remembered."""
REFIT = 64
"""Requests between one fit and the next. Each fit writes the file."""
PROBES_AT_ONCE = 10
"""Probes between one write of the file and the next."""
MOST_PRICES = 64
"""Prices that are remembered. A client that changes ``n`` needs another price."""

_log = logging.getLogger(__name__)


class PastRequest(msgspec.Struct, frozen=True, array_like=True):
    """One request, in memory and in a file."""

    at: int
    """Unix time in seconds."""
    count: int
    mean: float
    squares: float
    """See ``PromptRewards``."""
    tokens: int
    """Generated tokens of its candidates together."""


class PastTraffic(msgspec.Struct, frozen=True):
    """What is remembered: only numbers."""

    requests: Sequence[PastRequest] = ()
    probes: Sequence[Probe] = ()


class HistoryFiles(Protocol):
    """Where a history outlives its process. Both calls block."""

    def read(self) -> PastTraffic:
        """What this process and earlier or other ones have written. What cannot be used is logged
        and left out."""
        ...

    def write(self, traffic: PastTraffic) -> None:
        """Replace what this process has written. Raises OSError."""
        ...


class Shape(msgspec.Struct, frozen=True):
    """What a price depends on, in units of the typical spread of a prompt's rewards."""

    waves: Waves
    target: int
    strength: float
    shape: float
    """Those of the prior, rounded so that a price outlives a fit that changes little."""

    def price(self) -> float:
        prior = NormalInverseGamma(0.0, self.strength, self.shape, scale=self.shape)
        return matching_price(prior, self.waves, self.target)


class WindowHistory:
    """Knows the newest ``WINDOW`` requests. Its methods are called in the event loop's thread."""

    def __init__(self, files: HistoryFiles | None = None, least: int = LEAST) -> None:
        self._files = files
        self._read = files is None
        self._window: deque[PastRequest] = deque(maxlen=WINDOW)
        self._own: deque[PastRequest] = deque(maxlen=WINDOW)
        """Those of this process, which writes no others: so none is read twice."""
        self._probes = ProbeWindow()
        self._own_probes: deque[Probe] = deque(maxlen=PROBES)
        self._unwritten = self._unwritten_probes = 0
        self._until_fit = least
        """Requests that are still to come before the next fit."""
        self._prior: NormalInverseGamma | None = None
        self._prices: dict[Shape, float] = {}
        self._wanted: dict[Shape, None] = {}
        """Prices to compute, in the order in which they were asked for."""
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def prior(self) -> NormalInverseGamma | None:
        self._work_if_due()
        return self._prior

    @property
    def probes(self) -> ProbeWindow:
        self._work_if_due()
        return self._probes

    @property
    def tokens(self) -> float | None:
        drawn = sum(request.count for request in self._window)
        return sum(request.tokens for request in self._window) / drawn if drawn else None

    def price(self, waves: Waves, target: int) -> float | None:
        prior = self.prior
        if prior is None:
            return None
        shape = Shape(waves, target, _rounded(prior.strength), _rounded(prior.shape))
        price = self._prices.get(shape)
        if price is None:
            if len(self._wanted) < MOST_PRICES:
                self._wanted[shape] = None
            self._work_if_due()
            price = self._last_price(waves, target)
        return None if price is None else price * math.sqrt(prior.scale / prior.shape)

    def add(self, rewards: Sequence[float], tokens: int) -> None:
        prompt = PromptRewards.of(rewards)
        past = PastRequest(int(time.time()), prompt.count, prompt.mean, prompt.squares, tokens)
        self._window.append(past)
        self._own.append(past)
        self._unwritten += 1
        self._until_fit -= 1
        self._work_if_due()

    def add_probe(self, sums: Mapping[int, PairSums], count: int, tokens: int) -> None:
        probe = Probe(int(time.time()), count, tokens, sums)
        self._probes.extend([probe])
        self._own_probes.append(probe)
        self._unwritten_probes += 1
        self._work_if_due()

    async def settled(self) -> None:
        """Wait until all is known that can be known now."""
        self._work_if_due()
        if self._working is not None:
            await asyncio.wait([self._working])

    async def close(self) -> None:
        """End the step that runs, and write what is not written yet."""
        self._closed = True
        await self.settled()
        await self._write()

    def _last_price(self, waves: Waves, target: int) -> float | None:
        """That of an earlier prior, which is better than none."""
        for shape, price in reversed(self._prices.items()):
            if (shape.waves, shape.target) == (waves, target):
                return price
        return None

    def _work_if_due(self) -> None:
        if self._working is None and self._next_step() is not None:
            self._working = asyncio.create_task(self._work(), name="learning from rewards")

    async def _work(self) -> None:
        try:
            while (step := self._next_step()) is not None:
                await step()
        finally:
            self._working = None

    def _next_step(self) -> Callable[[], Awaitable[None]] | None:
        if self._closed:
            return None
        if not self._read:
            return self._read_files
        if self._until_fit <= 0:
            return self._fit
        if self._unwritten_probes >= PROBES_AT_ONCE and self._files is not None:
            return self._write
        return self._find_price if self._wanted else None

    async def _read_files(self) -> None:
        self._read = True
        assert self._files is not None, "without files all is read"
        past = await asyncio.to_thread(self._files.read)
        newest = sorted([*past.requests, *self._window], key=lambda request: request.at)
        self._window.clear()
        self._window.extend(newest)
        self._until_fit -= len(past.requests)
        self._probes.extend(past.probes)

    async def _fit(self) -> None:
        self._until_fit = REFIT
        prompts = [PromptRewards(p.count, p.mean, p.squares) for p in self._window]
        self._prior = await asyncio.to_thread(fit, prompts)
        await self._write()

    async def _find_price(self) -> None:
        shape = next(iter(self._wanted))
        price = await asyncio.to_thread(shape.price)
        del self._wanted[shape]
        self._prices[shape] = price
        if len(self._prices) > MOST_PRICES:
            del self._prices[next(iter(self._prices))]

    async def _write(self) -> None:
        if self._files is None or not (self._unwritten or self._unwritten_probes):
            return
        self._unwritten = self._unwritten_probes = 0
        try:
            traffic = PastTraffic(list(self._own), list(self._own_probes))
            await asyncio.to_thread(self._files.write, traffic)
        except OSError as error:
            _log.warning("the history of rewards cannot be written: %s", error.strerror or error)


def _rounded(value: float) -> float:
    """To a step of 10 %, which changes a price by 1 or 2 %."""
    return math.exp(round(math.log(value), 1))
