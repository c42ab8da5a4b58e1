"""``POST /v1/score``: scores a client's own answers with any reward of the gateway.

It answers like the reward server, so clients of a reward server (trainers, other gateways) get
judges, ensembles and hooks by the same call. Keys, caps, budgets and admission work as on the chat
route; an answer counts as a candidate in flight. It does not retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from bon_common.http.disconnect import ClientLeft, until_disconnect
from bon_common.together import together
from bon_common.tracing import trace_headers
from bon_gateway.api.body import read_json, send_json
from bon_gateway.api.score_wire import (
    ReadItem,
    RewardsOfItem,
    ScoreAnswer,
    ScoreAsked,
    ScoringUsage,
    parse_score,
    read_item,
)
from bon_gateway.api.services import Services
from bon_gateway.edge.exchange import RequestRecord, record_of
from bon_gateway.errors import AbstainedError, DeadlineError, RewardError, RewardRefusedError
from bon_gateway.judging import JudgeBill
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Caller, Message, RewardRequest, Scores
from reward_server.schema import ScoreTimings

AT_ONCE = 16
"""Conversations of one request that are scored at the same time."""


class ScoreAnswers:
    """A plain ASGI endpoint. See docs/api.md for the contract."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services, record = self._services, record_of(scope)
        limits, admission = services.settings.limits, services.admission
        body = await read_json(scope, receive, limits.max_json_values)
        asked = parse_score(body, limits)
        name, reward = services.gateway.reward(asked.model)
        record.scored_by = name
        items = [
            read_item(item, f"items[{place}]", reward.non_text_parts)
            for place, item in enumerate(asked.items)
        ]
        record.n = sum(len(item.answers) for item in items)
        call = ScoreCall(reward, asked, record, trace_headers(scope["headers"]))
        try:
            with admission.hold(record.n, record.key_name, param="items"):
                results = await until_disconnect(scope, receive, call.run(items))
        except ClientLeft:
            record.client_left = True
            return
        finally:
            if record.key_name is not None:
                admission.budgets.spend(record.key_name, call.bill.usage.completion_tokens)
        headers = {} if record.key_name is None else admission.budgets.headers(record.key_name)
        await send_json(send, msgspec.json.encode(call.answer(name, results)), headers)


class ScoreCall:
    """One valid scoring request on its way through the gateway."""

    def __init__(
        self,
        reward: RewardBackend,
        asked: ScoreAsked,
        record: RequestRecord,
        trace: Mapping[str, str],
    ) -> None:
        self._reward = reward
        self._asked = asked
        self._record = record
        self._caller = Caller(record.request_id, trace)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._begun = time.perf_counter()
        self._sequences = 0
        self._tokens = 0
        self._judged = False
        self.bill = JudgeBill()

    async def run(self, items: Sequence[ReadItem]) -> list[RewardsOfItem]:
        """The rewards of all items; the first failure ends the rest. Raises RewardError with its
        place in the body as ``param``, and DeadlineError."""
        deadline_ms = self._asked.deadline_ms
        left = None
        if deadline_ms is not None:
            left = deadline_ms / 1000 - (time.perf_counter() - self._record.started)
        try:
            async with asyncio.timeout(left):
                return await together(self._item(item, i) for i, item in enumerate(items))
        except TimeoutError:
            raise DeadlineError(
                f"not all answers were scored within {deadline_ms} ms", param="deadline_ms"
            ) from None

    async def _item(self, item: ReadItem, place: int) -> RewardsOfItem:
        keys = [orjson.dumps(answer) for answer in item.answers]
        distinct: dict[bytes, Message] = dict(zip(keys, item.answers, strict=True))
        request = RewardRequest(
            item.messages, item.tools, self._caller, self._asked.partial, item.metadata, self.bill
        )
        places = {key: index for index, key in reversed([*enumerate(keys)])}
        first = [places[key] for key in distinct]
        async with self._places:
            try:
                scores = await self._reward.score(request, [*distinct.values()])
            except RewardError as error:
                at = error.answer if isinstance(error, RewardRefusedError) else None
                # A slice, because the index comes from the reward model and may be out of range.
                named = [] if at is None else first[at : at + 1]
                raise _placed(error, place, named[0] if named else None) from None
        self._count(scores, len(distinct))
        missing = [i for i, given in zip(first, scores.rewards, strict=True) if given is None]
        if missing and self._asked.missing == "fail":
            raise _placed(_why(scores), place, missing[0])
        rows = dict(zip(distinct, range(len(distinct)), strict=True))
        return _result(scores, [rows[key] for key in keys])

    def _count(self, scores: Scores, answers: int) -> None:
        self._sequences += answers
        self._tokens += scores.tokens
        self._judged = self._judged or scores.judging is not None

    def answer(self, name: str, results: list[RewardsOfItem]) -> ScoreAnswer:
        took = 1000 * (time.perf_counter() - self._begun)
        judge = self.bill.usage if self._judged else None
        usage = ScoringUsage(sequences=self._sequences, tokens=self._tokens, judge=judge)
        timings = ScoreTimings(queue=0.0, model=round(took, 3))
        return ScoreAnswer(model=name, results=results, usage=usage, timings_ms=timings)


def _why(scores: Scores) -> RewardError:
    return scores.missing or RewardError("the reward model gave no reward")


def _placed(error: RewardError, item: int, completion: int | None) -> RewardError:
    """The error with its place in the body. A reward server names places within the item."""
    if isinstance(error, AbstainedError):
        # A retry is useless here, and after a 503 clients would retry again and again.
        error.status, error.retry_after = 422, None
    within = error.param if completion is None else f"completions[{completion}]"
    error.param = ".".join(filter(None, (f"items[{item}]", within)))
    error.message = f"{error.param}: {error.message}"
    return error


def _result(scores: Scores, rows: Sequence[int]) -> RewardsOfItem:
    """The answer for one item; ``rows`` has the place of each completion among the scores."""
    rewards = [scores.rewards[row] for row in rows]
    code = _why(scores).code
    return RewardsOfItem(
        rewards=rewards,
        tokens=[0 if scores.read is None else scores.read[row] for row in rows],
        truncated=[scores.truncated is not None and scores.truncated[row] for row in rows],
        labels=_labels(scores, rows),
        left_out=list(scores.left_out),
        reasons={str(i): code for i, reward in enumerate(rewards) if reward is None},
    )


def _labels(scores: Scores, rows: Sequence[int]) -> dict[str, list[float]]:
    """Numbers by member or label, without those that lack a number for some answer."""
    known = scores.labels if scores.members is None else scores.members
    if known is None:
        return {}
    numbers = [known[row] for row in rows]
    complete = [name for name in numbers[0] if all(name in one for one in numbers)]
    return {name: [one[name] for one in numbers] for name in complete}
