"""Which tokens of a conversation the assistant wrote.

A chat template may mark them (`{% generation %}`). Most published ones do not, Qwen's among them;
there, a turn begins behind the generation prompt and ends with the end-of-turn token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from trainers.base.data import Message
from trainers.base.errors import DataError, ModelError
from trainers.base.template import refusals
from trainers.policy.rendering import conversation_ids, plain, prompt_ids, until_end_of_turn

MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


def masked_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], where: str
) -> tuple[list[int], list[bool]]:
    """The ids of a conversation, and for each whether the assistant wrote it.

    Raises DataError, beginning with `where`, for messages that the template refuses or whose turns
    cannot be told apart; ModelError if the template marks nothing, or closes no answer.
    """
    if MARK.search(tokenizer.get_chat_template()):
        return _marked(tokenizer, messages, where)
    ids = conversation_ids(tokenizer, messages, where)
    mask = [False] * len(ids)
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            start, end = _turn(tokenizer, messages, place, ids, where)
            mask[start:end] = [True] * (end - start)
    return ids, mask


def _marked(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], where: str
) -> tuple[list[int], list[bool]]:
    with refusals(where):
        encoded: Any = tokenizer.apply_chat_template(
            plain(messages),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
    mask = [bool(counts) for counts in encoded["assistant_masks"]]
    if not any(mask):
        raise ModelError(
            f"{tokenizer.name_or_path}: the chat template marks no token as the assistant's; "
            "it needs {% generation %} around what the assistant wrote, or nowhere"
        )
    return list(encoded["input_ids"]), mask


def _turn(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    place: int,
    ids: list[int],
    where: str,
) -> tuple[int, int]:
    """First token of the turn at `place`, and the one behind its last."""
    start = prompt_ids(tokenizer, messages[:place], where)
    until = conversation_ids(tokenizer, messages[: place + 1], where)
    answer = until_end_of_turn(tokenizer, str(tokenizer.name_or_path), until[len(start) :])
    whole = start + answer
    # A template may write earlier turns otherwise than the last one, or tokens may merge.
    if ids[: len(whole)] != whole:
        raise DataError(
            f"{where}: messages.{place}: the chat template does not write this turn behind its "
            "generation prompt; mark the assistant's turns in it with {% generation %}"
        )
    return len(start), len(whole)
