"""Conversations as the items of `POST /v1/score`, and the rewards of its answer.

All answers to one prompt are one item: equal ones are then scored once, a long prompt is read once,
and a judge can compare them with each other. A prompt with other metadata is an item of its own, as
verifiers may expect another answer to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.base.data import Conversation

PATH = "/v1/score"

Row = list[int]
"""The places of an item's answers among all conversations."""


class MalformedError(Exception):
    """The reply is not an answer of `POST /v1/score`."""


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt with the answers to it."""

    places: Row
    """Their places among all conversations."""
    body: dict[str, Any]
    """The item as it is sent."""


def answered_prompts(conversations: Sequence[Conversation]) -> list[AnsweredPrompt]:
    """Prompts in the order of their first appearance. An answer is the last message; all messages
    before it, also turns of the same answer, belong to the prompt."""
    found: dict[tuple[str, str], AnsweredPrompt] = {}
    for place, one in enumerate(conversations):
        prompt = one.first(len(one.messages) - 1)
        key = prompt.key, json.dumps(prompt.metadata, sort_keys=True)
        item = found.get(key)
        if item is None:
            item = found[key] = AnsweredPrompt([], _unanswered(prompt))
        item.places.append(place)
        item.body["completions"].append(one.messages[-1])
    return list(found.values())


def _unanswered(prompt: Conversation) -> dict[str, Any]:
    beside = {"tools": [*map(dict, prompt.inputs.tools)], "metadata": dict(prompt.metadata)}
    given = {name: value for name, value in beside.items() if value}
    return {"messages": prompt.messages, "completions": [], **given}


def batches(prompts: Sequence[AnsweredPrompt], answers: int) -> Iterator[list[AnsweredPrompt]]:
    """Prompts whose answers go into one request: at most `answers`, or all answers of one
    prompt."""
    batch: list[AnsweredPrompt] = []
    room = answers
    for prompt in prompts:
        if batch and len(prompt.places) > room:
            yield batch
            batch, room = [], answers
        batch.append(prompt)
        room -= len(prompt.places)
    if batch:
        yield batch


def rewards_of(
    reply: Mapping[str, Any], batch: Sequence[AnsweredPrompt]
) -> dict[int, float | None]:
    """The reward at each place, None where the server gave none. Raises MalformedError."""
    results = reply.get("results")
    if not isinstance(results, list) or len(results) != len(batch):
        raise MalformedError(f"the reply has no results for {len(batch)} prompts")
    found: dict[int, float | None] = {}
    for prompt, result in zip(batch, results, strict=True):
        rewards = result.get("rewards") if isinstance(result, Mapping) else None
        if not isinstance(rewards, list) or len(rewards) != len(prompt.places):
            raise MalformedError("not a reward for each answer in the reply")
        for place, reward in zip(prompt.places, rewards, strict=True):
            found[place] = _number(reward)
    return found


def _number(reward: Any) -> float | None:
    if reward is None:
        return None
    if isinstance(reward, bool) or not isinstance(reward, int | float):
        raise MalformedError("a reward in the reply is no number")
    return float(reward)
