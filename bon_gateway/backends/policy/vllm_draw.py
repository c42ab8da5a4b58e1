"""One HTTP request that draws one candidate, or several, and reports each as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bon_gateway.assemble import Assembly
from bon_gateway.backends.faults import UpstreamError, malformed, policy_error
from bon_gateway.backends.policy import vllm_wire as wire
from bon_gateway.backends.replica import Lease
from bon_gateway.protocols import Trace
from bon_gateway.types import Completion, Delta, Sample


@dataclass(slots=True)
class Draw:
    indices: tuple[int, ...]
    """Candidate of each choice that is asked for."""
    body: bytes
    headers: Mapping[str, str]
    streamed: bool
    """Streamed only to know how far the candidates are; they are reported whole."""
    hide_token_ids: bool
    """Whether only the gateway asked for the token ids."""
    lease: Lease
    trace: Trace
    report: Callable[[Sample], None]
    _pending: set[int] = field(init=False)
    """Choices that have not ended."""

    def __post_init__(self) -> None:
        self._pending = set(range(len(self.indices)))

    async def run(self) -> None:
        """Every candidate is reported, unless this is cancelled."""
        try:
            if self.streamed:
                await self._run_streamed()
            else:
                await self._run_whole()
        except UpstreamError as error:
            for place in sorted(self._pending):
                self._fail(place, error)

    async def _run_whole(self) -> None:
        replica = self.lease.replica
        answer = await replica.client.post(replica.call, self.body, self.headers)
        prompt_tokens, total = wire.usage_of(answer)
        choices = wire.choices_of(answer)
        counts = wire.token_counts(choices, total) if len(self.indices) > 1 else [total]
        if self.hide_token_ids:
            wire.strip_token_ids(answer, choices)
        extra = wire.answer_extra(answer)
        for choice, tokens in zip(choices, counts, strict=False):
            place = choice.get("index", 0)
            if place not in self._pending:
                continue
            try:
                completion = wire.whole_completion(
                    choice, tokens=tokens, prompt_tokens=prompt_tokens, response_extra=extra
                )
            except UpstreamError as error:
                self._fail(place, error)
            else:
                self._settle(place, completion)
        if self._pending:
            n = len(self.indices)
            raise malformed(
                f"its answer lacks a choice, it has {n - len(self._pending)} of {n} choices; an"
                " upstream that ignores n needs fan_out: separate"
            )

    async def _run_streamed(self) -> None:
        """A lone candidate ends with its stream, whose last chunk may hold more fields. Of
        several each ends with its own last chunk, so that none waits for the slowest."""
        assemblies = [Assembly() for _ in self.indices]
        extra: dict[str, Any] = {}
        alone = len(assemblies) == 1
        replica = self.lease.replica
        events = replica.client.events(replica.call, self.body, self.headers)
        async with aclosing(events):
            async for event in events:
                extra.update(wire.answer_extra(event))
                prompt_tokens, tokens = wire.chunk_usage(event)
                choices = wire.chunk_choices(event)
                if alone and not choices:
                    assemblies[0].add(Delta(None, tokens, prompt_tokens))
                for choice in choices:
                    place = choice.get("index", 0)
                    if place not in self._pending:
                        continue
                    assemblies[place].add(Delta(choice, tokens, prompt_tokens))
                    if tokens is not None:
                        self.trace.tokens[self.indices[place]] = tokens
                    if choice.get("finish_reason") and not alone:
                        self._settle_streamed(place, assemblies[place], extra)
        for place in sorted(self._pending):
            self._settle_streamed(place, assemblies[place], extra)

    def _settle_streamed(self, place: int, drawn: Assembly, extra: Mapping[str, Any]) -> None:
        try:
            completion = wire.streamed_completion(drawn.completion(), extra)
        except UpstreamError as error:
            self._fail(place, error)
        else:
            self._settle(place, completion)

    def _settle(self, place: int, completion: Completion) -> None:
        index = self.indices[place]
        self._pending.discard(place)
        self.trace.tokens[index] = completion.tokens
        self.lease.done()
        self.report(Sample(index, completion))

    def _fail(self, place: int, error: UpstreamError) -> None:
        self._pending.discard(place)
        self.lease.done(error)
        self.report(Sample(self.indices[place], policy_error(error)))
