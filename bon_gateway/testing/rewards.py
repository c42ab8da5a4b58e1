"""The fake reward models' answers: vLLM's ``/classify`` and ``/pooling``, and the reward server's
``/v1/score``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bon_gateway.testing.script import Call, Step, fake_reward

STEP_MARK = "<extra_0>"
"""Behind each step of an answer."""


def classify(call: Call, step: Step, model: str) -> bytes:
    """vLLM's ``/classify``, which applies a sigmoid unless it is told not to."""
    messages = call.body["messages"]
    reward = _reward(messages[-1], step)
    if call.body.get("use_activation", True):
        reward = 1 / (1 + math.exp(-reward))
    classified = {"index": 0, "label": "LABEL_0", "probs": [reward], "num_classes": 1}
    return _listed(call, "classify", model, classified)


def pooling(call: Call, step: Step, model: str) -> bytes:
    """vLLM's ``/pooling`` of a process reward model with two labels, read at each ``STEP_MARK``."""
    messages = call.body["messages"]
    rows = []
    for message in messages:
        for text in text_of(message).split(STEP_MARK)[:-1]:
            reward = fake_reward(text) if step.reward is None else step.reward
            right = 1 / (1 + math.exp(-reward))
            rows.append(
                [1 - right, right] if call.body.get("use_activation", True) else [0, reward]
            )
    return _listed(call, "pooling", model, {"index": 0, "object": "pooling", "data": rows})


def score(call: Call, step: Step, model: str) -> bytes:
    """The reward server's ``/v1/score``."""
    results: list[dict[str, Any]] = []
    for item in call.body["items"]:
        completions = item["completions"]
        tokens = [_tokens([*item["messages"], completion]) for completion in completions]
        results.append(
            {
                "rewards": [_reward(completion, step) for completion in completions],
                "tokens": tokens,
                "truncated": [False] * len(completions),
            }
        )
    answer = {
        "model": model,
        "results": results,
        "usage": {
            "sequences": sum(len(one["tokens"]) for one in results),
            "tokens": sum(sum(one["tokens"]) for one in results),
        },
        "timings_ms": {"queue": 0.0, "model": 0.0},
    }
    return orjson.dumps(answer)


def prefix(call: Call, _step: Step, model: str) -> bytes:
    """The reward server's ``/v1/prefix``."""
    tokens = _tokens(call.body["messages"])
    return orjson.dumps({"model": model, "tokens": tokens, "kept": True})


def text_of(message: Mapping[str, Any] | str) -> str:
    """The text that is scored: the answer's, or its tool calls where it has none."""
    if isinstance(message, str):
        return message
    content = message.get("content")
    return content if isinstance(content, str) else orjson.dumps(message.get("tool_calls")).decode()


def _listed(call: Call, kind: str, model: str, only: Mapping[str, Any]) -> bytes:
    """vLLM's answer with one entry."""
    tokens = _tokens(call.body["messages"])
    answer = {
        "id": f"{kind}-{call.ordinal}",
        "object": "list",
        "created": 0,
        "model": model,
        "data": [only],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    return orjson.dumps(answer)


def _reward(message: Mapping[str, Any] | str, step: Step) -> float:
    return fake_reward(text_of(message)) if step.reward is None else step.reward


def _tokens(messages: Sequence[Mapping[str, Any] | str]) -> int:
    return sum(len(text_of(message).split()) + 1 for message in messages)
