"""Messages as chat templates expect them, for a conversation that is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bon_common.messages import MessageError, plain_message, split_reasoning
from reward_server.errors import RenderError

Messages = Sequence[Mapping[str, Any]]
"""OpenAI chat messages."""
Tools = Sequence[Mapping[str, Any]] | None
"""OpenAI tool definitions."""
Completion = Mapping[str, Any] | str
"""An assistant message, or its content alone."""


def answer_turn(completion: Completion, where: str) -> dict[str, Any]:
    """A completion as the assistant's message. Raises RenderError."""
    if isinstance(completion, str):
        return {"role": "assistant", "content": completion}
    turn = plain_turn({"role": "assistant", **completion}, where)
    if turn["role"] != "assistant":
        raise RenderError("a completion is an assistant message", param=f"{where}.role")
    return turn


def plain_turn(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The message as `plain_message` has it, without its reasoning: a reward model judges what the
    user reads. Raises RenderError, naming the place in `where`."""
    try:
        return plain_message(split_reasoning(message)[0])
    except MessageError as error:
        raise RenderError(error.reason, param=f"{where}.{error.place}") from error
