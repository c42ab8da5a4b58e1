"""Which tokens of a conversation the assistant wrote.

A chat template may mark them (`{% generation %}`). Most published ones do not, Qwen's among them;
there, a turn begins behind the generation prompt and ends with the end-of-turn token.
"""

from __future__ import annotations

import re
from typing import Any

from transformers import PreTrainedTokenizerBase

from bon_common.chat_template import chosen_template
from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation
from trainers.base.errors import DataError, ModelError
from trainers.base.template import refusals
from trainers.policy.answered import answered_ids, opens_thinking
from trainers.policy.rendering import conversation_ids, template_arguments, until_end_of_turn

MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


def masked_ids(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    ends: frozenset[int] | None = None,
    bad: BadLines | None = None,
) -> tuple[list[int], list[bool]]:
    """The ids of a conversation, and for each whether the assistant wrote it. `ends` as in
    `until_end_of_turn`, `bad` as in `answered_ids`.

    Raises DataError, beginning with `where`, for messages that the template refuses or whose turns
    cannot be told apart; ModelError if the template marks nothing, or closes no answer.
    """
    template = chosen_template(tokenizer.chat_template, tools=bool(shown.inputs.tools))
    # Marks know nothing of thinking that the prompt opens and the template leaves out.
    if MARK.search(str(template)) and not opens_thinking(tokenizer, shown, where):
        return _marked(tokenizer, shown, where)
    if shown.messages[-1]["role"] == "assistant":
        ids = answered_ids(tokenizer, shown, where, bad).whole
    else:
        ids = conversation_ids(tokenizer, shown, where)
    mask = [False] * len(ids)
    for place, message in enumerate(shown.messages):
        if message["role"] == "assistant":
            start, end = _turn(tokenizer, shown, place, ids, where, ends)
            mask[start:end] = [True] * (end - start)
    return ids, mask


def last_turn(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    ends: frozenset[int] | None = None,
    bad: BadLines | None = None,
) -> tuple[list[int], list[bool]]:
    """As `masked_ids`, with the last turn alone, which ends the ids: as a server asks for it, and
    as the policy writes it."""
    ids = answered_ids(tokenizer, shown, where, bad).whole
    start, end = _turn(tokenizer, shown, len(shown.messages) - 1, ids, where, ends)
    return ids[:end], [False] * start + [True] * (end - start)


def _marked(
    tokenizer: PreTrainedTokenizerBase, shown: Conversation, where: str
) -> tuple[list[int], list[bool]]:
    with refusals(where):
        encoded: Any = tokenizer.apply_chat_template(
            **template_arguments(tokenizer, shown),
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
    shown: Conversation,
    place: int,
    ids: list[int],
    where: str,
    ends: frozenset[int] | None,
) -> tuple[int, int]:
    """First token of the turn at `place`, and the one behind its last."""
    found = answered_ids(tokenizer, shown.first(place + 1), where)
    start, until = found.prompt, found.whole
    answer = until_end_of_turn(tokenizer, str(tokenizer.name_or_path), until[len(start) :], ends)
    whole = start + answer
    # A template may write earlier turns otherwise than the last one, or tokens may merge.
    if ids[: len(whole)] != whole:
        raise DataError(
            f"{where}: messages.{place}: the chat template does not write this turn behind its "
            "generation prompt; mark the assistant's turns in it with {% generation %}, or set "
            "learn to each"
        )
    return len(start), len(whole)
