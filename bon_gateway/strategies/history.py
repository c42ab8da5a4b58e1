"""What a served model's earlier requests teach about the next one: see ``RewardHistory``.

It keeps whole draws: rewards of requests that drew all they might, without a look at the rewards.
Those that stopped early would say less, and never what stopping costs. Fitting, pricing and files
take up to a second, so a thread does them, one step at a time. Requests meanwhile use what was
known before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Protocol

import msgspec

from bon_common.selection.adaptive.gain import GainModel, SampleRewards, learn_gain
from bon_common.selection.adaptive.price import matching_price
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import WINDOW as PROBES
from bon_common.selection.pruning.probes import PairSums, Probe, ProbeWindow
from bon_common.selection.spread import LARGEST

LEAST = 128
"""Whole draws before which nothing is known."""
MOST_TRIES = 2 * LEAST
"""Requests that are drawn whole to get them: some may teach nothing, as without a reward model."""
EVERY = 128
"""From then on one request in so many is drawn whole, to notice how rewards change."""
WINDOW = 256
"""Newest whole draws that are remembered."""
MOST_REWARDS = 16_384
"""Rewards that are remembered. With a cap above 64 they are fewer draws than ``WINDOW``, and above
128 fewer than ``LEAST``."""
REFIT = 16
"""Whole draws between one fit and the next. Each fit writes the file."""
PROBES_AT_ONCE = 10
"""Probes between one write of the file and the next."""
MOST_PRICES = 64
"""Prices that are remembered. A client that changes ``n`` needs another price."""

_log = logging.getLogger(__name__)

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Reward = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]


class PastRequest(msgspec.Struct, frozen=True, array_like=True):
    """One whole draw, in memory and in a file."""

    at: Count
    """Unix time in seconds."""
    tokens: Count
    """Generated tokens of its candidates together."""
    rewards: tuple[Reward | None, ...]
    """By index; None for a candidate that could not win."""


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
    """What a price is asked for."""

    waves: Waves
    target: int


class WindowHistory:
    """Knows the newest ``WINDOW`` whole draws. The event loop's thread calls its methods."""

    def __init__(self, files: HistoryFiles | None = None, least: int = LEAST) -> None:
        self._files = files
        self._read = files is None
        self._least = least
        self._window: deque[PastRequest] = deque()
        self._own: deque[PastRequest] = deque()
        """Those of this process, which writes no others: so none is read twice."""
        self._probes = ProbeWindow()
        self._own_probes: deque[Probe] = deque(maxlen=PROBES)
        self._unwritten = self._unwritten_probes = 0
        self._until_fit = least
        """Whole draws that are still to come before the next fit."""
        self._asked = 0
        """Requests that asked whether to draw all."""
        self._tries: Counter[int] = Counter()
        """Requests that were to draw all because too little was known, by their caps."""
        self._model: GainModel | None = None
        self._prices: dict[Shape, float] = {}
        self._wanted: dict[Shape, None] = {}
        """Prices to compute, in the order in which they were asked for."""
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def model(self) -> GainModel | None:
        self._work_if_due()
        return self._model

    @property
    def probes(self) -> ProbeWindow:
        self._work_if_due()
        return self._probes

    @property
    def tokens(self) -> float | None:
        drawn = sum(len(request.rewards) for request in self._window)
        return sum(request.tokens for request in self._window) / drawn if drawn else None

    def learns(self, cap: int) -> bool:
        self._work_if_due()
        self._asked += 1
        if self._asked % EVERY == 0:
            return True
        if len(self._draws(cap)) >= self._least:
            return False
        # A client may choose the cap, so only so many are counted.
        if cap not in self._tries and len(self._tries) >= MOST_PRICES:
            return False
        self._tries[cap] += 1
        return self._tries[cap] <= MOST_TRIES

    def price(self, waves: Waves, target: int) -> float | None:
        if self.model is None:
            return None
        shape = Shape(waves, target)
        known = self._prices.get(shape)
        if known is None and len(self._draws(waves.cap)) >= self._least:
            self._want(shape)
        return known

    def add(self, rewards: SampleRewards, tokens: int) -> None:
        past = PastRequest(int(time.time()), tokens, tuple(rewards))
        for kept in (self._window, self._own):
            kept.append(past)
            _trim(kept)
        self._unwritten += 1
        self._until_fit -= 1
        self._work_if_due()

    def add_probe(self, sums: Mapping[int, PairSums], count: int, tokens: int) -> None:
        probe = Probe(int(time.time()), count, tokens, sums)
        self._probes.extend([probe])
        self._own_probes.append(probe)
        self._unwritten_probes += 1
        self._work_if_due()

    def _draws(self, cap: int) -> list[SampleRewards]:
        """Those from which a price for this cap can be learnt."""
        return [past.rewards for past in self._window if len(past.rewards) >= cap]

    def _want(self, shape: Shape) -> None:
        if len(self._wanted) < MOST_PRICES:
            self._wanted[shape] = None
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
        _trim(self._window)
        self._until_fit -= len(past.requests)
        self._probes.extend(past.probes)

    async def _fit(self) -> None:
        self._until_fit = REFIT
        draws = [past.rewards for past in self._window]
        self._model = await asyncio.to_thread(learn_gain, draws)
        # The old prices serve until the new ones are known.
        self._wanted.update(dict.fromkeys(self._prices))
        await self._write()

    async def _find_price(self) -> None:
        shape = next(iter(self._wanted))
        draws = self._draws(shape.waves.cap)
        if self._model is not None and draws:
            price = await asyncio.to_thread(
                matching_price, self._model, shape.waves, shape.target, draws
            )
            self._prices.pop(shape, None)
            self._prices[shape] = price
        del self._wanted[shape]
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


def _trim(kept: deque[PastRequest]) -> None:
    """Drop the oldest above ``WINDOW`` and ``MOST_REWARDS``, but not the newest."""
    rewards = sum(len(past.rewards) for past in kept)
    while len(kept) > 1 and (len(kept) > WINDOW or rewards > MOST_REWARDS):
        rewards -= len(kept.popleft().rewards)
