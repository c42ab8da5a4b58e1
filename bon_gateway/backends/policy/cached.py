"""Keeps the candidates of any policy: the same request gets the same ones again.

The candidate's index is part of its key, so N candidates never collapse into one, and a request
with a larger N draws only the rest. Streams pass through: they neither read nor fill the cache.
Failed and stopped candidates are not kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from bon_gateway.backends.cache.settings import CandidateCacheSettings
from bon_gateway.backends.cache.store import BoundedStore, digest_of
from bon_gateway.metrics import CacheMeter
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.types import ChatRequest, Completion, Delta, ReportSample, Sample, Signal

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Completion).decode


class CachedPolicy:
    """A PolicyBackend that remembers another's candidates."""

    def __init__(
        self, policy: PolicyBackend, settings: CandidateCacheSettings, meter: CacheMeter
    ) -> None:
        self._policy = policy
        self._shared = settings.shared
        self._meter = meter
        # Bytes have a known size, and no caller can change what another gets.
        self._store: BoundedStore[bytes] = BoundedStore(
            settings.entries, settings.size, settings.life_s, dropped=meter.dropped
        )
        self.thinking = policy.thinking
        self.start = policy.start
        self.ready = policy.ready
        self.health = policy.health
        self.troubles = policy.troubles
        self.close = policy.close

    def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        return self._policy.stream(request, trace)

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        use = request.cache
        if not use.read and not use.store:
            await self._policy.sample(request, indices, trace, report)
            return
        asked = self._asked(request)
        keys = {index: digest_of(asked, index, request.seed_of(index)) for index in indices}
        kept = {}
        if use.read:
            found = {index: self._store.get(key) for index, key in keys.items()}
            kept = {index: data for index, data in found.items() if data is not None}
            self._meter.looked_up(hits=len(kept), misses=len(keys) - len(kept))
        for index, data in kept.items():
            report(Sample(index, msgspec.structs.replace(_decode(data), cached=True)))
        missing = [index for index in indices if index not in kept]
        if not missing:
            return

        def keep(sample: Sample) -> None:
            if use.store and isinstance(sample.outcome, Completion):
                data = _encode(sample.outcome)
                self._store.put(keys[sample.index], data, len(data))
            report(sample)

        await self._policy.sample(request, missing, trace, keep)

    def _asked(self, request: ChatRequest) -> bytes:
        """A digest of everything that decides a candidate, except the index and its seed."""
        return digest_of(
            "" if self._shared else request.cache.scope,
            request.messages,
            request.sampling,
            request.upstream_model,
            _named(request.signal),
        )


def _named(signal: Signal | None) -> Any:
    """Identifies a signal: its measure is kept with the candidate."""
    if signal is None:
        return None
    return [signal.top, _function(signal.of_token), _function(signal.of_all)]


def _function(function: Callable[..., Any]) -> Any:
    if isinstance(function, partial):
        return [_function(function.func), *function.args, sorted(function.keywords.items())]
    return f"{function.__module__}.{function.__qualname__}"
