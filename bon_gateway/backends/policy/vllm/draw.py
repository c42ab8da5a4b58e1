"""One HTTP request that draws one or more candidates and reports each as it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bon_gateway.assemble import Assembly
from bon_gateway.backends.http.client import JsonAnswer
from bon_gateway.backends.http.faults import UpstreamError, malformed, policy_error
from bon_gateway.backends.policy.vllm import check, wire
from bon_gateway.backends.policy.vllm.numbers import read_numbers, read_unseen
from bon_gateway.backends.policy.vllm.ways import UpstreamWays
from bon_gateway.backends.pool.replica import Lease
from bon_gateway.logprobs import Measuring, Reading, measured
from bon_gateway.protocols import Trace, Watch
from bon_gateway.types import Completion, Delta, ReportSample, Sample
from bon_gateway.unexpected import log_unexpected
from bon_gateway.watching import PassedCheckpoints

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class VllmDraw:
    indices: tuple[int, ...]
    """The candidate of each choice in the request."""
    body: bytes
    headers: Mapping[str, str]
    streamed: bool
    """Whether to stream, only to count tokens meanwhile and to show candidates to the watch.
    Candidates are reported whole."""
    hide_token_ids: bool
    """Whether the client did not ask for the token ids, so that they must be removed."""
    ways: UpstreamWays
    lease: Lease
    trace: Trace
    report: ReportSample
    measuring: Measuring | None
    """What to measure of each candidate, if anything."""
    _pending: set[int] = field(init=False)
    """Choices that have not ended."""
    _readings: Sequence[Reading] = field(init=False)
    """What is measured of each choice of a stream."""
    _progress: PassedCheckpoints | None = field(init=False, default=None)
    """Of the only candidate, if it is watched."""

    def __post_init__(self) -> None:
        self._pending = set(range(len(self.indices)))
        of_each = () if self.measuring is None else [self.measuring.signal] * len(self.indices)
        self._readings = [Reading(signal) for signal in of_each]
        if self.watch is not None:
            self._progress = PassedCheckpoints(self.watch.checkpoints)

    @property
    def watch(self) -> Watch | None:
        """Who looks at the candidate while it grows. A choice of a request cannot be stopped alone,
        so a watched candidate is drawn alone."""
        return self.trace.watch if self.streamed and len(self.indices) == 1 else None

    def stop(self, running: asyncio.Task[None]) -> None:
        """End what has not ended, without a report: ``running`` is this draw. The connection closes
        with it, and so vLLM stops too."""
        for _ in self._pending:
            self.lease.done()
        self._pending.clear()
        running.cancel()

    async def run(self) -> None:
        """Report every candidate, unless this is cancelled."""
        try:
            if self.streamed:
                await self._run_streamed()
            else:
                await self._run_whole()
        except UpstreamError as error:
            self._fail_rest(error)
        except Exception as error:  # noqa: BLE001 - the one capture point: it costs this draw alone
            log_unexpected(logger, "an upstream's answer could not be read", error, {})
            self._fail_rest(malformed("its answer could not be read"))

    async def _run_whole(self) -> None:
        n = len(self.indices)
        answer, writable = await self._ask()
        paid = check.usage_of(answer)
        choices = [choice for choice in check.choices_of(answer) if isinstance(choice, dict)]
        unseen = [choice.pop("logprobs", None) for choice in choices] if self._hides else []
        plain = check.all_plain(choices, writable=writable)
        self.ways.saw_answer(paid, () if plain else choices)
        if n > 1 and len(choices) == 1:
            self.ways.saw_one_of(n)
        counts = wire.token_counts(choices, paid.tokens) if n > 1 else [paid.tokens] * len(choices)
        if self.hide_token_ids:
            wire.strip_token_ids(answer, choices)
        extra = wire.nulls_of_answer() | wire.answer_extra(answer)
        if not writable:
            check.check_writable(extra)
        details = paid.completion_details
        for number, (choice, tokens) in enumerate(zip(choices, counts, strict=True)):
            try:
                place = check.place_of(choice)
            except UpstreamError:
                # Without its index it belongs to no candidate. One will be missing in the end.
                continue
            if place not in self._pending:
                continue
            try:
                if not plain:
                    check.check_whole(choice)
            except UpstreamError as error:
                self._fail(place, error)
                continue
            completion = wire.whole_completion(
                choice, paid, tokens=tokens, response_extra=extra, completion_details=details
            )
            details = None
            if self._hides:
                read_numbers(unseen[number], self._readings[place])
                completion = self._with_confidence(place, completion)
            else:
                completion = measured(completion, self.measuring)
            self._settle(place, completion)
            if self.measuring is not None:
                # A candidate's tokens take a while, and others wait for the event loop.
                await asyncio.sleep(0)
        if self._pending:
            n = len(self.indices)
            raise malformed(
                f"its answer lacks a choice, it has {n - len(self._pending)} of {n} choices; an"
                " upstream that ignores n needs fan_out: separate"
            )

    @property
    def _hides(self) -> bool:
        """Whether there are log-probabilities that the client will not see."""
        return self.measuring is not None and not self.measuring.shown

    async def _ask(self) -> JsonAnswer:
        """Raises UpstreamError."""
        replica = self.lease.replica
        if not self._hides:
            return await replica.client.ask(replica.call, self.body, self.headers)
        payload = await replica.client.payload(replica.call, self.body, self.headers)
        return await read_unseen(payload)

    def _with_confidence(self, place: int, completion: Completion) -> Completion:
        """The completion of a choice whose tokens have all been read."""
        if self.measuring is None:
            return completion
        confidence = self._readings[place].confidence
        return msgspec.structs.replace(completion, confidence=confidence)

    async def _run_streamed(self) -> None:
        """The last candidate, or the only one, ends with the stream, whose last chunk may hold more
        fields. The others end with their own last chunks, so that none waits for the slowest."""
        assemblies = [Assembly() for _ in self.indices]
        extra = wire.nulls_of_answer()
        alone = len(assemblies) == 1
        paid: check.Paid | None = None
        replica = self.lease.replica
        events = replica.client.events(replica.call, self.body, self.headers)
        async with aclosing(events):
            async for event in events:
                more = wire.answer_extra(event)
                check.check_writable(more)
                extra.update(more)
                paid = check.chunk_usage(event)
                choices = check.chunk_choices(event)
                self.ways.saw_answer(paid, choices)
                if alone and paid is not None and not choices:
                    assemblies[0].add(_counts(paid))
                for choice in choices:
                    self._add_chunk(choice, paid, assemblies, extra)
                if not self._pending:
                    return
        details = None if paid is None else paid.prompt_details
        for place in sorted(self._pending):
            self._settle_streamed(place, assemblies[place], extra, details)

    def _add_chunk(
        self,
        choice: dict[str, Any],
        paid: check.Paid | None,
        assemblies: list[Assembly],
        extra: Mapping[str, Any],
    ) -> None:
        """Raises UpstreamError if the choice names no candidate."""
        place = check.place_of(choice)
        if place not in self._pending:
            return
        try:
            check.check_chunk(choice)
        except UpstreamError as error:
            self._fail(place, error)
            return
        if self.measuring is not None:
            # At once, so that no token's alternatives are kept for longer than their chunk.
            self._readings[place].add(choice.get("logprobs"))
            choice = {**choice, "logprobs": self.measuring.told(choice.get("logprobs"))}
        assemblies[place].add(_counts(paid, choice))
        if paid is not None:
            self.trace.tokens[self.indices[place]] = paid.tokens
        if not choice.get("finish_reason"):
            self._show(assemblies[place])
        elif len(self._pending) > 1:
            self._settle_streamed(place, assemblies[place], extra, None)

    def _show(self, drawn: Assembly) -> None:
        if self.watch is None or self._progress is None:
            return
        checkpoint = self._progress.passed(drawn.tokens)
        if checkpoint is not None:
            message = wire.clean_message(drawn.completion().message)
            self.watch.passed(self.indices[0], checkpoint, message)

    def _settle_streamed(
        self,
        place: int,
        drawn: Assembly,
        extra: Mapping[str, Any],
        prompt_details: Mapping[str, Any] | None,
    ) -> None:
        try:
            completion = wire.streamed_completion(drawn.completion(), extra, prompt_details)
        except UpstreamError as error:
            self._fail(place, error)
        else:
            self._settle(place, self._with_confidence(place, completion))

    def _settle(self, place: int, completion: Completion) -> None:
        index = self.indices[place]
        self._pending.discard(place)
        self.trace.tokens[index] = completion.tokens
        self.lease.done()
        self.report(Sample(index, completion))

    def _fail_rest(self, error: UpstreamError) -> None:
        for place in sorted(self._pending):
            self._fail(place, error)

    def _fail(self, place: int, error: UpstreamError) -> None:
        self._pending.discard(place)
        self.lease.done(error)
        self.report(Sample(self.indices[place], policy_error(error)))


def _counts(paid: check.Paid | None, choice: Mapping[str, Any] | None = None) -> Delta:
    if paid is None:
        return Delta(choice)
    return Delta(
        choice, paid.tokens, paid.prompt_tokens, completion_details=paid.completion_details
    )
