"""From conversations to token ids, as a server feeds them to a policy.

Every policy trainer comes through here, so that what is learnt and what is sampled begin with the
same tokens. How a reward model reads a finished conversation is `trainers.rewards.one`'s part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from bon_common.messages import decoded_call
from reward_server.scoring.render import strip_repeated
from trainers.base.data import Message
from trainers.base.errors import ModelError
from trainers.base.template import refusals


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], where: str = "a prompt"
) -> list[int]:
    """The ids after which a server lets the policy write: the chat template's generation prompt.

    Raises DataError, beginning with `where`, for messages that the template refuses.
    """
    return _ids(tokenizer, messages, where, add_generation_prompt=True)


def conversation_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], where: str = "a conversation"
) -> list[int]:
    """The ids of a conversation that asks for no answer; DataError as `prompt_ids`."""
    return _ids(tokenizer, messages, where, add_generation_prompt=False)


def _ids(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    where: str,
    *,
    add_generation_prompt: bool,
) -> list[int]:
    with refusals(where):
        text = tokenizer.apply_chat_template(
            plain(messages),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        ids: list[int] = tokenizer(str(text), add_special_tokens=False)["input_ids"]
    return list(strip_repeated(tuple(ids), tokenizer.bos_token_id))


def plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as servers hand them to a template: arguments of tool calls as objects."""
    return [
        {**message, "tool_calls": [decoded_call(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else {**message}
        for message in messages
    ]


def until_end_of_turn(tokenizer: PreTrainedTokenizerBase, folder: str, ids: list[int]) -> list[int]:
    """An answer up to its end-of-turn token. No policy generates what a template writes after it.

    Raises ModelError if there is none: the policy would not learn to stop.
    """
    eos = tokenizer.eos_token_id
    if eos not in ids:
        raise ModelError(
            f"{folder}: the chat template does not close an answer with the end-of-turn token "
            f"{tokenizer.eos_token}, so the policy would not learn to stop"
        )
    return ids[: len(ids) - ids[::-1].index(eos)]
