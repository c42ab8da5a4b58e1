"""``POST /v1/chat/completions``: one call down to the strategy, one Selection up."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from bon_common.http.disconnect import ClientLeft, until_disconnect
from bon_common.tracing import trace_headers
from bon_gateway.api import render
from bon_gateway.api.body import read_json, send_json
from bon_gateway.api.caching import cache_use
from bon_gateway.api.limits import check_limits, most_tokens, within_budget
from bon_gateway.api.messages import check_messages
from bon_gateway.api.override import resolve_strategy
from bon_gateway.api.schema import ChatWire, parse_chat
from bon_gateway.api.services import Services
from bon_gateway.api.stream import EventStream
from bon_gateway.edge.exchange import RequestRecord, record_of
from bon_gateway.errors import GatewayError
from bon_gateway.gateway import ServedModel
from bon_gateway.protocols import Strategy, Trace
from bon_gateway.recording.entry import LogEntry
from bon_gateway.schemas.bounds import check_schemas
from bon_gateway.types import ChatRequest, Selection


class ChatCall(msgspec.Struct, frozen=True):
    """One valid chat request on its way through the gateway."""

    services: Services
    record: RequestRecord
    wire: ChatWire
    request: ChatRequest
    served: ServedModel
    strategy: Strategy
    drawn: int
    most_tokens: int
    """The most that it may generate; 0 if nothing limits it."""
    head: render.AnswerHead
    trace: Trace

    async def run(self) -> Selection:
        return await self.strategy.run(
            self.request, self.served.policy, self.served.reward, self.trace
        )

    def hold(self) -> AbstractContextManager[None]:
        """See ``Admission.hold``."""
        return self.services.admission.hold(self.drawn, self.record.key_name, self.most_tokens)

    def budget_headers(self) -> Mapping[str, str]:
        key_name = self.record.key_name
        return {} if key_name is None else self.services.admission.budgets.headers(key_name)

    def finish(self, selection: Selection) -> tuple[dict[str, Any], dict[str, str]]:
        """Count the outcome. Returns the ``bon`` object and the answer's headers."""
        record = self.record
        total_s = time.perf_counter() - record.started
        # The time in which the request waited neither for the policy nor for the reward model.
        overhead_s = max(0.0, total_s - selection.timings.generate - selection.timings.score)
        record.prompt_tokens = selection.usage.prompt_tokens
        record.winner_tokens = selection.usage.winner_tokens
        record.discarded_tokens = selection.usage.discarded_tokens
        record.reward = selection.winner.reward
        record.degraded = ", ".join(selection.degraded) or None
        record.n = selection.n
        self._note_replicas()
        self._spend(selection.usage.completion_tokens)
        self.services.metrics.observe_selection(self.served.name, selection, overhead_s)
        self._keep(selection, None)
        bon = render.bon_object(
            selection,
            return_candidates=self.wire.bon is not None and self.wire.bon.return_candidates,
            overhead_s=overhead_s,
            total_s=total_s,
        )
        return bon, render.headers(selection, overhead_s)

    def abandoned(self) -> None:
        """The client left; what was generated for it is lost."""
        self.record.client_left = True
        self.lost()

    def failed(self, error: GatewayError) -> None:
        """The request is answered with ``error``."""
        self.lost()
        self._keep(None, error.code)

    def lost(self) -> None:
        """Count the tokens that were generated for nobody, because the request did not succeed."""
        tokens = sum(self.trace.tokens.values())
        self.record.discarded_tokens = tokens
        self._note_replicas()
        self._spend(tokens)
        self.services.metrics.observe_discarded(self.served.name, tokens)

    def _spend(self, tokens: int) -> None:
        """Charge the key with ``tokens``, and with the tokens that judges wrote."""
        if self.record.key_name is not None:
            judged = self.trace.bill.usage.completion_tokens
            self.services.admission.budgets.spend(self.record.key_name, tokens + judged)

    def _note_replicas(self) -> None:
        self.record.replica = ", ".join(dict.fromkeys(self.trace.replicas)) or None

    def _keep(self, selection: Selection | None, error: str | None) -> None:
        """Hand the outcome to the candidate log, if that wants the request."""
        recorder = self.services.recorder
        if not recorder.wants(self.request.request_id):
            return
        made_of = self.served.settings
        recorder.record(
            LogEntry(
                at=time.time(),
                model=self.served.name,
                policy=made_of.policy,
                policy_revision=self.services.settings.revision_of(made_of.policy),
                reward=made_of.reward_name(self.served.name),
                strategy=self.strategy.name,
                n=self.drawn if selection is None else selection.n,
                request=self.request,
                selection=selection,
                error=error,
                reward_compares=self.served.reward is not None and self.served.reward.compares,
            )
        )


class ChatCompletions:
    """Draw, score and answer with the best. See docs/api.md for the whole contract.

    It is a plain ASGI endpoint. The framework's work for a route function (dependencies, models,
    conversions) would cost a tenth of the gateway's time and is not needed here.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._services
        body = await read_json(scope, receive, services.settings.limits.max_json_values)
        call = prepare(services, record_of(scope), body, scope["headers"])
        if call.wire.stream:
            await _stream(call, scope, receive, send)
        else:
            await _answer(call, scope, receive, send)


async def _answer(call: ChatCall, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        with call.hold():
            selection = await until_disconnect(scope, receive, call.run())
    except ClientLeft:
        call.abandoned()
        return
    except GatewayError as error:
        call.failed(error)
        raise
    bon, headers = call.finish(selection)
    answer = render.to_answer(selection, call.head, bon)
    await send_json(send, orjson.dumps(answer), {**headers, **call.budget_headers()})


def prepare(
    services: Services, record: RequestRecord, body: Any, headers: Sequence[tuple[bytes, bytes]]
) -> ChatCall:
    """Validate ``body`` and find its served model. Raises BadRequestError and NotFoundError."""
    limits, gateway = services.settings.limits, services.gateway
    check_messages(body, limits.max_messages)
    check_schemas(body, limits)
    wire = parse_chat(body)
    check_limits(wire, limits)
    served = gateway.model(wire.model)
    record.model = served.name
    record.strategy = served.strategy.name
    compares = served.reward is not None and served.reward.compares
    settings = resolve_strategy(wire.bon, served.settings, limits, compares=compares)
    strategy = (
        served.strategy if settings is served.settings.strategy else settings.build(gateway.referee)
    )
    chat = render.to_request(
        wire,
        body,
        record.request_id,
        trace_headers(headers),
        cache_use(headers, record.key_name),
    )
    drawn = strategy.drawn(chat)
    # By the most and not by the number: whether a request is refused must not be chance.
    most = drawn if chat.greedy else max(drawn, settings.drawn)
    chat = within_budget(chat, most, limits)
    record.strategy = strategy.name
    record.n = drawn
    return ChatCall(
        services=services,
        record=record,
        wire=wire,
        request=chat,
        served=served,
        strategy=strategy,
        drawn=drawn,
        most_tokens=most_tokens(chat, most),
        head=render.AnswerHead(f"chatcmpl-{os.urandom(16).hex()}", int(time.time()), served.name),
        trace=Trace(
            history=served.history,
            policy=served.settings.policy,
            policies={name: gateway.policy(name) for name in settings.asks.values()},
            embedders={name: gateway.embedders[name] for name in settings.embeds.values()},
            verifiers=served.verifiers,
        ),
    )


async def _stream(call: ChatCall, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with server-sent events. An error before the first byte is raised, so that it becomes
    an ordinary error response."""
    options = call.wire.stream_options
    stream = EventStream(
        send,
        call.head,
        {"x-bon-strategy": call.strategy.name, "x-bon-n": str(call.drawn)},
        include_usage=bool(options and options.include_usage),
        continuous_usage=bool(options and options.continuous_usage_stats),
    )
    call.trace.sink = stream
    try:
        with call.hold():
            await until_disconnect(scope, receive, _produce(call, stream))
    except ClientLeft:
        call.abandoned()
    except GatewayError as error:
        call.failed(error)
        if not stream.started:
            raise
        call.record.error = error.code
        await stream.fail(error)
    finally:
        if stream.first_token_at is not None:
            call.record.first_token_s = stream.first_token_at - call.record.started


async def _produce(call: ChatCall, stream: EventStream) -> None:
    interval_s = call.services.settings.server.keepalive_s
    if interval_s is None:
        selection = await call.run()
    else:
        silence = asyncio.ensure_future(stream.keep_alive(interval_s))
        try:
            selection = await call.run()
        finally:
            silence.cancel()
            await asyncio.gather(silence, return_exceptions=True)
    bon, headers = call.finish(selection)
    await stream.finish(selection, bon, headers)
