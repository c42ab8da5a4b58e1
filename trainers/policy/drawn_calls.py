"""Refuses tools where the policy is sampled in this process and its calls would stay text.

The reward model would then read another answer than a server's parser would give it.
"""

from __future__ import annotations

import json
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from trainers.base.data import Conversation, Message
from trainers.base.errors import DataError
from trainers.base.tool_calls import split_calls
from trainers.policy.rendering import conversation_text, prompt_text

ARGUMENTS = {"a": "b"}


class DrawnCalls:
    """Tries the chat template once, on the first conversation with tools."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._readable: bool | None = None

    def require(self, asked: Conversation, where: str) -> None:
        """Raise DataError, beginning with `where`, for tools whose calls could not be read."""
        if not asked.inputs.tools:
            return
        if self._readable is None:
            self._readable = _readable(self._tokenizer, asked, where)
        if not self._readable:
            raise DataError(
                f"{where}: tools: calls are only read between <tool_call> and </tool_call>, and "
                "this policy's chat template writes them otherwise; sample from an endpoint, whose "
                "server has a parser for them"
            )


def _readable(tokenizer: PreTrainedTokenizerBase, asked: Conversation, where: str) -> bool:
    """Whether a call comes back from the tokens that the template writes for it."""
    name = str(asked.inputs.tools[0]["function"]["name"])
    call = {
        "id": "abcdefgh1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(ARGUMENTS)},
    }
    start = Conversation([Message(role="user", content="?")], asked.inputs)
    said = Message(role="assistant", content="", tool_calls=[call])
    before = prompt_text(tokenizer, start, where)
    whole = conversation_text(tokenizer, start.answered([said]), where)
    same = (a == b for a, b in zip(before, whole, strict=False))
    written = whole[len(list(takewhile(bool, same))) :]
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    _, calls = split_calls(str(tokenizer.decode(ids, skip_special_tokens=True)))
    found = [(one["function"]["name"], one["function"]["arguments"]) for one in calls]
    return found == [(name, json.dumps(ARGUMENTS))]
