"""Base of rewards behind vLLM's pooling server: one call for each answer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from bon_gateway.backends.http.client import encode, model_name
from bon_gateway.backends.http.faults import (
    Fault,
    UpstreamError,
    malformed,
    reward_error,
    reward_refusal,
)
from bon_gateway.backends.http.names import LookUp
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.backend import Pooled
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.backends.reward.local import WARM_UP, Unannounced
from bon_gateway.types import Message, RewardRequest, Scores


class SideBySide(Unannounced, Pooled):
    """Asks for each completion in its own call, all at once. It does not retry a failed call.

    All completions of one call go to one replica, whose prefix cache then holds their prompt. The
    first failure stops the rest. A completion that vLLM refuses to read is not a failure.
    """

    def __init__(
        self, settings: UpstreamSettings, api_key: str | None, look_up: LookUp, *, call_path: str
    ) -> None:
        self._model = settings.model
        super().__init__(settings, api_key, look_up, call_path=call_path, health_path="/health")

    @abstractmethod
    async def _ask(
        self, replica: Replica, request: RewardRequest, completion: Message
    ) -> tuple[float, int]:
        """The reward and the tokens read. Raises UpstreamError."""

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if not completions:
            return Scores((), 0)
        try:
            with self._pool.lease(len(completions), request.request_id) as lease:
                return await self._score(lease, request, completions)
        except UpstreamError as error:
            raise reward_error(error) from error

    async def _score(
        self, lease: Lease, request: RewardRequest, completions: Sequence[Message]
    ) -> Scores:
        async def one(completion: Message) -> tuple[float, int] | UpstreamError:
            try:
                outcome = await self._ask(lease.replica, request, completion)
            except UpstreamError as error:
                lease.done(error)
                if error.kind is Fault.REFUSED:
                    # The refusal may be about this answer alone, because it is too long for
                    # example.
                    return error
                raise
            lease.done()
            return outcome

        tasks = [asyncio.create_task(one(completion)) for completion in completions]
        try:
            outcomes = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        read = [(None, 0) if isinstance(o, UpstreamError) else o for o in outcomes]
        refusals = [
            reward_refusal(o.status or 400, None, o.code)
            for o in outcomes
            if isinstance(o, UpstreamError)
        ]
        return Scores(
            tuple(reward for reward, _ in read),
            sum(tokens for _, tokens in read),
            refusals[0] if refusals else None,
            read=[tokens for _, tokens in read],
        )

    async def _warm_up(self, replica: Replica) -> None:
        if self._model is None:
            replica.model = model_name(await replica.client.get(replica.models))
        await self._ask(replica, *WARM_UP)

    async def _post(
        self, replica: Replica, request: RewardRequest, answer: Message
    ) -> tuple[dict[str, Any], int]:
        """vLLM's data for the conversation with this answer, and the number of tokens read.

        vLLM renders it with the model's own chat template, without a generation prompt or further
        special tokens. Raises UpstreamError.
        """
        body: dict[str, Any] = {
            "model": self._model or replica.model,
            "messages": [_without_nulls(message) for message in (*request.messages, answer)],
            # vLLM's default is a sigmoid, under which good candidates tie at 1.0.
            "use_activation": False,
        }
        if request.tools:
            # There is no field for tools, but these are handed to the chat template.
            body["chat_template_kwargs"] = {"tools": request.tools}
        found = await replica.client.post(replica.call, encode(body), request.headers())
        data, usage = found.get("data"), found.get("usage")
        if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
            raise malformed("its answer is not about one conversation")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if not isinstance(tokens, int):
            raise malformed("its answer has no usage")
        return data[0], tokens


def _without_nulls(message: Message) -> dict[str, Any]:
    return {k: value for k, value in message.items() if value is not None or k == "content"}
