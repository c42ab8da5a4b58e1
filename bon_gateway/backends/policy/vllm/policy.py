"""The policy behind vLLM's OpenAI API.

All candidates of one call go to one replica, whose prefix cache then holds their prompt. The next
call, also a retry, may go to another. A failed candidate is reported and never drawn again here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import field_validator

from bon_common.http.settings import Seconds
from bon_gateway.backends.http.client import encode, model_name
from bon_gateway.backends.http.faults import UpstreamError, malformed, policy_error
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import OWN_HEADERS, UpstreamSettings
from bon_gateway.backends.policy.vllm import check, wire
from bon_gateway.backends.policy.vllm.draw import VllmDraw
from bon_gateway.backends.policy.vllm.ways import UpstreamWays
from bon_gateway.backends.pool.backend import Pooled
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.backends.settings import PolicySettings
from bon_gateway.errors import PolicyRefusedError
from bon_gateway.logprobs import Measuring
from bon_gateway.protocols import Trace
from bon_gateway.sections.base import HeaderName
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import ChatRequest, Completion, Delta, ReportSample, Sample, Signal
from bon_gateway.unexpected import log_unexpected

logger = logging.getLogger(__name__)

WARM_UP = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 1.0}


class VllmPolicySettings(UpstreamSettings, PolicySettings):
    type: Literal["vllm"]
    fan_out: Literal["together", "separate"] = "together"
    """``together`` sends one request with n: less HTTP work, and all candidates arrive together
    unless some may be stopped early. ``separate`` sends one request per candidate: each is scored
    as it finishes and drawn again alone."""
    thinking: ThinkingSettings | None = None
    """How the model marks thinking inside the content. Set it, to ``{}`` or to your model's marks,
    if the engines run no reasoning parser. JSON checks and the reward model then see only the text
    after the thinking; clients get the content as it is. None treats all content as the answer."""
    session_header: HeaderName | None = None
    """Header for the request's id in every call for one request. A router between the gateway and
    the engines can then send all candidates of a request to one engine."""
    timeout_s: Seconds = 600.0
    """Seconds that one candidate may take."""

    serves_several: ClassVar[bool] = True

    @field_validator("session_header")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name is not None and name.lower() in OWN_HEADERS:
            raise ValueError(f"{name!r} already has a meaning in a call to an upstream")
        return name

    def build(self, key: str | None) -> VllmPolicy:
        return VllmPolicy(self, key)


class VllmPolicy(Pooled):
    """PolicyBackend over HTTP. ``api_key`` goes to the configured replicas and nowhere else."""

    def __init__(
        self, settings: VllmPolicySettings, api_key: str | None, *, look_up: LookUp = look_up
    ) -> None:
        self._model = settings.model
        self._together = settings.fan_out == "together"
        self._session_header = settings.session_header
        self._ways = UpstreamWays()
        self.thinking = settings.thinking
        super().__init__(
            settings, api_key, look_up, call_path="/v1/chat/completions", health_path="/health"
        )

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        if not indices:
            return
        measuring = Measuring.of(request)
        if measuring is None or not measuring.asks_for_more:
            await self._sample(request, indices, trace, report)
        elif self._ways.gives(measuring.signal):
            await self._sample_measured(request, indices, trace, report, measuring.signal)
        else:
            await self._sample(_unmeasured(request), indices, trace, report)

    async def _sample_measured(
        self,
        request: ChatRequest,
        indices: Sequence[int],
        trace: Trace,
        report: ReportSample,
        signal: Signal,
    ) -> None:
        """What the upstream refuses is asked for again without the signal, because either the
        client's request or the log-probabilities may be what it refuses."""
        refused: list[int] = []

        def keep_refused(sample: Sample) -> None:
            outcome = sample.outcome
            if isinstance(outcome, PolicyRefusedError):
                refused.append(sample.index)
                return
            if isinstance(outcome, Completion) and outcome.confidence is not None:
                self._ways.saw_given(signal)
            report(sample)

        def learn(sample: Sample) -> None:
            if isinstance(sample.outcome, Completion):
                self._ways.saw_refusal(signal)
            report(sample)

        await self._sample(request, indices, trace, keep_refused)
        if refused:
            await self._sample(_unmeasured(request), sorted(refused), trace, learn)

    async def _sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        try:
            with self._pool.lease(len(indices), request.request_id) as lease:
                trace.replicas.append(lease.replica.name)
                first, *others = self._draws(request, indices, trace, lease, report)
                if not others and first.watch is None:
                    await first.run()
                    return
                async with asyncio.TaskGroup() as tasks:
                    for draw in (first, *others):
                        running = tasks.create_task(draw.run())
                        if draw.watch is not None:
                            draw.watch.begins(draw.indices[0], partial(draw.stop, running))
        except UpstreamError as error:
            # Nothing has been sent: no replica is up, or the request cannot be written as JSON.
            for index in indices:
                report(Sample(index, policy_error(error)))

    async def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        try:
            with self._pool.lease(1, request.request_id) as lease:
                trace.replicas.append(lease.replica.name)
                finished = False
                try:
                    async with aclosing(self._deltas(request, trace, lease.replica)) as deltas:
                        async for delta in deltas:
                            if delta.choice and delta.choice.get("finish_reason"):
                                finished = True
                            yield delta
                    if not finished:
                        raise malformed("its answer has no finish reason")
                except UpstreamError as error:
                    lease.done(error)
                    raise
                lease.done()
        except UpstreamError as error:
            raise policy_error(error) from error

    async def _deltas(
        self, request: ChatRequest, trace: Trace, replica: Replica
    ) -> AsyncGenerator[Delta, None]:
        """Raises UpstreamError, also for anything that cannot be read."""
        model = self._name(replica, request)
        body = wire.open_body(request, model, n=1, streamed=True, interval=None)
        events = replica.client.events(
            replica.call, wire.with_seed(body, request.seed_of(0)), self._headers(request, 0)
        )
        try:
            async with aclosing(events):
                async for event in events:
                    yield self._delta(event, trace)
        except UpstreamError:
            raise
        except Exception as error:
            # The one capture point of a stream, as VllmDraw has its own: it must end with an error.
            log_unexpected(logger, "an upstream's stream could not be read", error, {})
            raise malformed("its answer could not be read") from error

    def _delta(self, event: dict[str, Any], trace: Trace) -> Delta:
        """Raises UpstreamError."""
        choices = check.chunk_choices(event)
        choice = choices[0] if choices else None
        extra = wire.answer_extra(event)
        if choice is not None:
            check.place_of(choice)
            check.check_chunk(choice)
        check.check_writable((choice, extra))
        paid = check.chunk_usage(event)
        self._ways.saw_answer(paid, choices)
        if paid is None:
            return Delta(choice, extra=extra)
        trace.tokens[0] = paid.tokens
        return Delta(
            choice,
            paid.tokens,
            paid.prompt_tokens,
            extra,
            paid.prompt_details,
            paid.completion_details,
        )

    def _draws(
        self,
        request: ChatRequest,
        indices: Sequence[int],
        trace: Trace,
        lease: Lease,
        report: ReportSample,
    ) -> list[VllmDraw]:
        """Raises UpstreamError if the request cannot be written as JSON."""
        measuring = Measuring.of(request)
        if measuring is not None:
            request = measuring.asked(request)
        streamed = (
            trace.count_tokens and not self._ways.parses_reasoning and wire.streamable(request)
        )
        groups: list[tuple[int, ...]] = [(index,) for index in indices]
        # Whole answers of one request arrive together, so none of them could be stopped alone. A
        # watch may stop each alone, also of those that are streamed.
        stoppable = trace.watch is not None or (trace.count_tokens and not streamed)
        apart = self._ways.ignores_n or stoppable
        # vLLM draws choice k of one request with its seed + k.
        if self._together and not apart and request.seeds_run_on(indices):
            groups = [tuple(indices)]
        n = len(groups[0])
        body = wire.open_body(
            request,
            self._name(lease.replica, request),
            n=n,
            streamed=streamed,
            interval=wire.STREAM_INTERVAL,
        )
        hide_token_ids = n > 1 and not request.sampling.get("return_token_ids")
        return [
            VllmDraw(
                indices=group,
                body=wire.with_seed(body, request.seed_of(group[0])),
                headers=self._headers(request, group[0]),
                streamed=streamed,
                hide_token_ids=hide_token_ids,
                ways=self._ways,
                lease=lease,
                trace=trace,
                report=report,
                measuring=measuring,
            )
            for group in groups
        ]

    def _headers(self, request: ChatRequest, index: int) -> dict[str, str]:
        """The id with the first candidate's index tells the calls of one request apart. The session
        header is the same in all of them."""
        headers = {**request.trace, "x-request-id": f"{request.request_id}-{index}"}
        if self._session_header is not None:
            headers[self._session_header] = request.request_id
        return headers

    def _name(self, replica: Replica, request: ChatRequest | None = None) -> str | None:
        other = None if request is None else request.upstream_model
        return other or self._model or replica.model

    async def _warm_up(self, replica: Replica) -> None:
        if self._model is None:
            replica.model = model_name(await replica.client.get(replica.models))
        body = encode({**WARM_UP, "model": self._name(replica)})
        answer = await replica.client.post(replica.call, body, {})
        choices = [choice for choice in check.choices_of(answer) if isinstance(choice, dict)]
        self._ways.saw_answer(check.chunk_usage(answer), choices)


def _unmeasured(request: ChatRequest) -> ChatRequest:
    return msgspec.structs.replace(request, signal=None)
