"""Puts the deltas of a streamed completion together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bon_gateway.types import Completion, Delta

_NOT_EXTRA = frozenset({"index", "delta", "finish_reason", "logprobs"})


class Assembly:
    """A Completion in the making, from chunks whose shape has been checked."""

    def __init__(self) -> None:
        self.begun = False
        self.tokens = 0
        self._prompt_tokens = 0
        self._prompt_details: Mapping[str, Any] | None = None
        self._completion_details: Mapping[str, Any] | None = None
        self._role = "assistant"
        self._texts: dict[str, list[str]] = {}
        self._others: dict[str, Any] = {}
        self._calls: list[tuple[int, dict[str, Any]]] = []
        self._open_calls: dict[int, dict[str, Any]] = {}
        """For each index, the call that its next piece belongs to."""
        self._logprobs: list[Any] = []
        self._extra: dict[str, Any] = {}
        self._response_extra: dict[str, Any] = {}
        self._finish_reason = ""

    def add(self, delta: Delta) -> None:
        if delta.tokens is not None:
            self.tokens = delta.tokens
        if delta.prompt_tokens is not None:
            self._prompt_tokens = delta.prompt_tokens
        self._prompt_details = delta.prompt_details or self._prompt_details
        self._completion_details = delta.completion_details or self._completion_details
        self._response_extra.update(delta.extra)
        if delta.choice is not None:
            self.begun = True
            self._add_choice(delta.choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        for key, value in (choice.get("delta") or {}).items():
            if key == "tool_calls":
                for call in value or ():
                    self._add_call(call)
            elif key == "role":
                self._role = value or self._role
            elif isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
            elif value is not None:
                self._others[key] = value
        if choice.get("finish_reason"):
            self._finish_reason = choice["finish_reason"]
        self._logprobs.extend((choice.get("logprobs") or {}).get("content") or ())
        for key, value in choice.items():
            if key in _NOT_EXTRA or value is None:
                continue
            if key == "token_ids":
                self._extra.setdefault(key, []).extend(value)
            else:
                self._extra[key] = value

    def _add_call(self, part: Mapping[str, Any]) -> None:
        """Names and ids come once, arguments in pieces. Some parsers give every call the same
        index; then a new id shows that another call begins."""
        index, name = part.get("index") or 0, part.get("id")
        call = self._open_calls.get(index)
        if call is None or (name and call.get("id") not in (None, name)):
            call = {"type": "function", "function": {"name": "", "arguments": ""}}
            self._open_calls[index] = call
            self._calls.append((index, call))
        if name:
            call["id"] = name
        function = part.get("function") or {}
        whole = call["function"]
        if function.get("name") != whole["name"]:
            whole["name"] += function.get("name") or ""
        whole["arguments"] += function.get("arguments") or ""

    def completion(self) -> Completion:
        message: dict[str, Any] = {"role": self._role, "content": None}
        message.update({key: "".join(parts) for key, parts in self._texts.items()})
        message.update(self._others)
        if self._calls:
            message["tool_calls"] = [call for _, call in sorted(self._calls, key=lambda c: c[0])]
        return Completion(
            message=message,
            finish_reason=self._finish_reason,
            tokens=self.tokens,
            prompt_tokens=self._prompt_tokens,
            logprobs={"content": self._logprobs} if self._logprobs else None,
            extra=self._extra,
            response_extra=self._response_extra,
            prompt_details=self._prompt_details,
            completion_details=self._completion_details,
        )
