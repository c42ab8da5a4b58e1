"""Asks a server of OpenAI's chat completions for an answer, or a bon-gateway for all candidates."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers.base.data import Conversation, Message
from trainers.base.lines import BadLineError
from trainers.base.messages import answer_messages
from trainers.endpoint.http import JsonClient, RequestFailedError
from trainers.endpoint.settings import ChatSettings


@dataclass(frozen=True)
class ChatAnswer:
    message: Message
    finish_reason: str | None

    @property
    def text(self) -> str:
        return self.message["content"]


@dataclass(frozen=True)
class GatewayAnswer(ChatAnswer):
    reward: float | None
    """None if the gateway did not score it, as one that was cut."""


@dataclass(frozen=True)
class Candidates:
    """What a best-of-n request drew."""

    answers: tuple[GatewayAnswer, ...]
    lost: Mapping[str, int]
    """Numbers of the candidates without an answer, by status."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    temperature: float
    max_tokens: int
    seed: int | None = None
    top_p: float | None = None


DRAWN = frozenset({"finished", "truncated"})
"""The states of a candidate that has an answer."""


async def ask(
    client: JsonClient,
    settings: ChatSettings,
    asked: Conversation,
    *,
    temperature: float,
    max_tokens: int,
    seed: int | None = None,
    top_p: float | None = None,
) -> ChatAnswer:
    """One answer to a conversation, asked for with its tools. Raises what `JsonClient.post` raises,
    and RequestFailedError for an answer that holds no assistant's message."""
    sampling = Sampling(temperature, max_tokens, seed, top_p)
    content = await client.post("/chat/completions", _body(settings, asked, sampling))
    try:
        choice = content["choices"][0]
        [message] = answer_messages(choice["message"], "message")
    except (KeyError, IndexError, TypeError, BadLineError) as error:
        raise RequestFailedError(f"no answer in the reply: {error}") from error
    reason = choice.get("finish_reason")
    return ChatAnswer(message, reason if isinstance(reason, str) else None)


def _sent(message: Message) -> dict[str, Any]:
    """The message as the interface has it: arguments of tool calls are JSON text."""
    if "tool_calls" not in message:
        return {**message}
    return {**message, "tool_calls": [_sent_call(call) for call in message["tool_calls"]]}


def _sent_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or isinstance(function.get("arguments"), str):
        return {**call}
    text = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


async def ask_for_candidates(
    client: JsonClient,
    settings: ChatSettings,
    asked: Conversation,
    sampling: Sampling,
    n: int,
) -> Candidates:
    """All candidates of one best-of-n request. It has the prompt's metadata, for the gateway's
    verifiers. Raises what `JsonClient.post` raises, and RequestFailedError for a reply that is not
    a bon-gateway's, or that holds no candidate."""
    metadata = {"metadata": dict(asked.metadata)} if asked.metadata else {}
    bon = {"n": n, "return_candidates": True}
    body = metadata | _body(settings, asked, sampling) | {"bon": bon}
    content = await client.post("/chat/completions", body)
    try:
        listed = content["bon"]["candidates"]
        found = [(one["status"], one) for one in listed]
        answers = tuple(_rewarded(one) for status, one in found if status in DRAWN)
    except (KeyError, TypeError, BadLineError) as error:
        raise RequestFailedError(
            f"no candidates in the reply; is it a bon-gateway's best-of-n model? {error}"
        ) from error
    if not answers:
        raise RequestFailedError("no candidate was drawn to its end")
    lost = Counter(f"candidates {status}" for status, _ in found if status not in DRAWN)
    return Candidates(answers, lost)


def _rewarded(candidate: Mapping[str, Any]) -> GatewayAnswer:
    [message] = answer_messages(candidate["message"], "message")
    reward = candidate["reward"]
    return GatewayAnswer(
        message,
        candidate["finish_reason"],
        float(reward) if isinstance(reward, int | float) else None,
    )


def _body(settings: ChatSettings, asked: Conversation, sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [_sent(message) for message in asked.messages],
        **asked.inputs.as_json(),
        "temperature": sampling.temperature,
        settings.max_tokens_field: sampling.max_tokens,
    }
    if settings.model is not None:
        body["model"] = settings.model
    if sampling.top_p is not None and sampling.top_p < 1:
        body["top_p"] = sampling.top_p
    if sampling.seed is not None and settings.send_seed:
        body["seed"] = sampling.seed
    return body | settings.extra
