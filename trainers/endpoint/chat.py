"""Asks a server of OpenAI's chat completions for one answer."""

from __future__ import annotations

import json
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
    body: dict[str, Any] = {
        "messages": [_sent(message) for message in asked.messages],
        **asked.inputs.as_json(),
        "temperature": temperature,
        settings.max_tokens_field: max_tokens,
    }
    if settings.model is not None:
        body["model"] = settings.model
    if top_p is not None and top_p < 1:
        body["top_p"] = top_p
    if seed is not None and settings.send_seed:
        body["seed"] = seed
    content = await client.post("/chat/completions", body | settings.extra)
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
