"""Requests as clients send them, with an answer; each needs something that a family may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.trainers.parity.families import (
    FAMILIES,
    REASONING,
    SWITCH,
    SYSTEM,
    TOOLS,
    TURNS,
    VARIANTS,
    Family,
)

LOOK: dict[str, Any] = {
    # Keys in another order than vLLM's, one that it does not know, and no description.
    "function": {
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
        "name": "look",
        "x-note": "ours",
    },
    "type": "function",
}
CALL: dict[str, Any] = {
    "id": "abcdefgh1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "the sky"}'},
}


@dataclass(frozen=True)
class Case:
    name: str
    messages: list[dict[str, Any]]
    answer: dict[str, Any] = field(
        default_factory=lambda: {"role": "assistant", "content": "Blue."}
    )
    beside: dict[str, Any] = field(default_factory=dict)
    """`tools` and `chat_template_kwargs`."""
    needs: frozenset[str] = frozenset()


SKY = {"role": "user", "content": "Which colour is the sky?"}
CASES = (
    Case("plain", [SKY]),
    Case("parts", [{"role": "user", "content": [{"type": "text", "text": "Sky?"}]}]),
    Case(
        "turns",
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}, SKY],
        needs=frozenset({TURNS}),
    ),
    Case(
        "system",
        [{"role": "system", "content": "Be brief."}, SKY],
        needs=frozenset({SYSTEM}),
    ),
    Case(
        "developer",
        [{"role": "developer", "content": "Be brief."}, SKY],
        needs=frozenset({SYSTEM}),
    ),
    Case("a call", [SKY], {"role": "assistant", "content": None, "tool_calls": [CALL]},
         {"tools": [LOOK]}, frozenset({TOOLS})),
    Case(
        "a result",
        [
            SKY,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "abcdefgh1", "name": "look", "content": "it is blue"},
        ],
        beside={"tools": [LOOK]},
        needs=frozenset({TOOLS}),
    ),
    Case(
        "reasoning",
        [SKY],
        {"role": "assistant", "content": "Blue.", "reasoning_content": "Light scatters."},
        needs=frozenset({REASONING}),
    ),
    Case(
        "no thinking",
        [SKY],
        beside={"chat_template_kwargs": {"enable_thinking": False}},
        needs=frozenset({SWITCH}),
    ),
)  # fmt: skip


def pairs() -> list[tuple[Family, Case]]:
    families = (*FAMILIES, *VARIANTS)
    return [(family, case) for family in families for case in CASES if case.needs <= family.takes]
