"""The routes that score: this server's own, and those of the servers that it can replace."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response

from bon_common.http.disconnect import until_disconnect
from reward_server.errors import ScoreError
from reward_server.http.access import AccessRecord
from reward_server.http.auth import Keys
from reward_server.http.dialects.dialect import Answering, Dialect, renamed
from reward_server.http.dialects.routes import ROUTES, DialectRoute, Fields
from reward_server.http.openapi import PREFIX_ROUTE, SCORE_ROUTE, dialect_route
from reward_server.http.service import Served, Service
from reward_server.http.wire import decode, json_response, read_body
from reward_server.info import EnsembleInfo, ModelInfo
from reward_server.schema import PrefixRequest, ScoreRequest, ScoreResponse
from reward_server.scoring.scorer import ScoreOptions

Asked = TypeVar("Asked", ScoreRequest, PrefixRequest)
Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """What every route needs: the key, the body and its model, and the wait for the scores."""

    def __init__(self, service: Service, keys: Keys) -> None:
        self.service = service
        self._keys = keys

    def admit(self, request: Request) -> AccessRecord:
        """Check the key; return the fields of the request's log line."""
        record: AccessRecord = request.state.record
        record.key = self._keys.caller_of(request.headers.get("authorization"))
        return record

    async def body(self, request: Request) -> bytes:
        """A client that comes too early need not send it all."""
        self.service.check_ready()
        return await read_body(request, self.service.settings.max_body_bytes)

    async def decode(self, body: bytes, kind: Any) -> Any:
        return await decode(body, kind, self.service.settings.max_json_values)

    async def read(self, request: Request, kind: type[Asked]) -> tuple[Asked, Served]:
        """The body and its model."""
        asked: Asked = await self.decode(await self.body(request), kind)
        return asked, self.service.scorer(asked.model)

    async def scored(
        self, request: Request, work: Coroutine[Any, Any, ScoreResponse], record: AccessRecord
    ) -> ScoreResponse:
        answer = await until_disconnect(request.scope, request.receive, work)
        record.sequences = answer.usage.sequences
        record.tokens = answer.usage.tokens
        return answer


def add_api(app: FastAPI, service: Service, keys: Keys) -> None:
    api = Api(service, keys)
    _add_own(app, api)
    for route in ROUTES:
        app.add_api_route(
            route.path,
            _answering(route, api),
            methods=["POST"],
            summary=route.summary,
            operation_id=route.path.strip("/").replace("/", "_"),
            openapi_extra=dialect_route(route),
        )


def _add_own(app: FastAPI, api: Api) -> None:
    service = api.service

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        """The loaded models, their devices, and the meaning of their numbers."""
        api.admit(request)
        return json_response({"object": "list", "data": [_page(info) for info in service.infos()]})

    @app.post("/v1/score", openapi_extra=SCORE_ROUTE)
    async def score(request: Request) -> Response:
        """Score candidate answers: raw rewards, in the order given."""
        arrived = time.monotonic()
        record = api.admit(request)
        with service.request():
            asked, served = await api.read(request, ScoreRequest)
            record.model = served.info.name
            deadline_s = None
            if asked.deadline_ms is not None:
                deadline_s = asked.deadline_ms / 1000 - (time.monotonic() - arrived)
            options = ScoreOptions(asked.on_overflow, deadline_s, asked.partial, record.request_id)
            answer = await api.scored(request, served.score(asked.items, options), record)
        return json_response(answer)

    @app.post("/v1/prefix", openapi_extra=PREFIX_ROUTE)
    async def prefix(request: Request) -> Response:
        """Compute the prompt of candidates that are being generated; answers when it is done."""
        record = api.admit(request)
        with service.request():
            asked, served = await api.read(request, PrefixRequest)
            record.model = served.info.name
            work = served.announce(asked.messages, asked.tools, request_id=record.request_id)
            announced = await until_disconnect(request.scope, request.receive, work)
        record.tokens = announced.tokens
        return json_response(announced)


def _answering(route: DialectRoute, api: Api) -> Handler:
    async def answer(request: Request) -> Response:
        record = api.admit(request)
        with api.service.request():
            asked = await _read(route, api, request)
            served = api.service.scorer(asked.model or request.query_params.get("model"))
            record.model = served.info.name
            translation = asked.translated()
            options = ScoreOptions(translation.on_overflow, request_id=record.request_id)
            try:
                scores = await api.scored(request, served.score(translation.items, options), record)
            except ScoreError as error:
                raise renamed(error, translation.where) from error
        created = int(time.time())
        return json_response(
            translation.answer(Answering(scores, served.info, record.request_id, created))
        )

    return answer


async def _read(route: DialectRoute, api: Api, request: Request) -> Dialect:
    body, kind = await api.body(request), route.body
    if route.other is not None:
        field, other = route.other
        if field in await api.decode(body, Fields):
            kind = other
    asked: Dialect = await api.decode(body, kind)
    return asked


def _page(info: ModelInfo | EnsembleInfo) -> dict[str, Any]:
    known = {k: v for k, v in msgspec.to_builtins(info).items() if v is not None}
    return {"id": info.name, "object": "model", **known}
