"""Answers of an OpenAI API in one form, whole or put together from a stream's chunks, so that two
servers' answers can be compared field by field.

What differs by nature is left out: ids, times and the served model's name. Nulls are left out too,
for a stream has none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

PASSING = frozenset(("id", "object", "created", "model", "bon"))
LOGPROB_ERROR = 1e-3
"""Candidates are computed in batches, whose sizes depend on who else asks."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    """The answer, or the error object; of a stream what its chunks say together."""
    chunks: tuple[dict[str, Any], ...] = ()

    def at(self, path: str) -> Any:
        """``choices.0.message.content``; None where there is nothing."""
        found: Any = {**self.body, "chunks": self.chunks}
        for name in path.split("."):
            if isinstance(found, Mapping):
                found = found.get(name)
            elif isinstance(found, list | tuple) and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


async def ask(http: httpx.AsyncClient, url: str, body: Mapping[str, Any]) -> Answer:
    response = await http.post(f"{url}/v1/chat/completions", json=body)
    if response.status_code != 200:
        return Answer(response.status_code, response.json()["error"])
    if not body.get("stream"):
        return Answer(200, response.json())
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]", response.text
    chunks = tuple(orjson.loads(line) for line in lines)
    failed = [chunk["error"] for chunk in chunks if "error" in chunk]
    if failed:
        return Answer(failed[0]["code"], failed[0])
    return Answer(200, joined(chunks), chunks)


def joined(chunks: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        answer |= {k: v for k, v in chunk.items() if v is not None and k != "choices"}
        for part in chunk["choices"]:
            _add(choices.setdefault(part["index"], {"message": {}}), part)
    for choice in choices.values():
        calls = choice["message"].get("tool_calls")
        if calls:
            choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return answer | {"choices": [choices[index] for index in sorted(choices)]}


def _add(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    message = choice["message"]
    for name, value in part["delta"].items():
        if name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", {}), call)
        elif name == "role":
            message["role"] = value
        elif value is not None:
            message[name] = message.get(name, "") + value
    for name, value in part.items():
        if name == "delta" or value is None:
            continue
        if name == "token_ids":
            choice[name] = choice.get(name, []) + value
        elif name == "logprobs":
            before = choice.get(name, {"content": []})
            choice[name] = {"content": before["content"] + (value["content"] or [])}
        else:
            choice[name] = value


def _add_call(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    call = calls.setdefault(part["index"], {"type": "function", "function": {"arguments": ""}})
    function = part.get("function") or {}
    if part.get("id"):
        call["id"] = part["id"]
    if function.get("name"):
        call["function"]["name"] = function["name"]
    call["function"]["arguments"] += function.get("arguments") or ""


def comparable(answer: Answer) -> Any:
    """What must be the same in the answers of two servers to one request."""
    body = {name: value for name, value in answer.body.items() if name not in PASSING}
    body["choices"] = [_choice(choice) for choice in body.get("choices", ())]
    return _without_nulls(body)


def about(value: Any) -> Any:
    """Equal to ``value``, its logprobs nearly."""
    if isinstance(value, dict):
        return {name: about(v) for name, v in value.items()}
    if isinstance(value, list):
        return [about(item) for item in value]
    if isinstance(value, float):
        return pytest.approx(value, abs=LOGPROB_ERROR, rel=LOGPROB_ERROR)
    return value


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = dict(choice["message"])
    message["tool_calls"] = [{**call, "id": "-"} for call in message.get("tool_calls") or ()]
    # Where there is no text, vLLM says so in either way.
    message["content"] = message.get("content") or None
    return {**choice, "message": message}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_nulls(v) for name, v in value.items()}
        return {k: v for k, v in kept.items() if v is not None and v != [] and v != {}}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def fields(value: Any, path: str = "") -> set[str]:
    """Every field by its path, whatever it holds; places in lists are not told apart."""
    if isinstance(value, Mapping):
        deeper = [fields(v, f"{path}.{name}".lstrip(".")) for name, v in value.items()]
        return {path}.union(*deeper)
    if isinstance(value, list):
        return {path}.union(*(fields(item, path) for item in value))
    return {path}
