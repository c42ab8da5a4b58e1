"""From chat messages to the token ids that the model continues.

The caller brings the tokenizer; this module needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bon_common.chat_template import (
    OWN_ARGUMENTS,
    TEMPLATE_ERRORS,
    chosen_template,
    without_developer,
)
from bon_common.messages import MessageError, policy_message
from bon_gateway.backends.policy.embedded.params import refusal
from bon_gateway.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    template_kwargs: Mapping[str, Any],
) -> list[int]:
    """Token ids of ``messages`` up to where the assistant's answer begins; at least one.

    Raises PolicyRefusedError for content that is not text and for what the template refuses.
    """
    turns = [_plain(message, f"messages[{i}]") for i, message in enumerate(messages)]
    if taken := sorted(OWN_ARGUMENTS & template_kwargs.keys()):
        raise refusal(
            f"chat_template_kwargs must not set {', '.join(taken)}", "chat_template_kwargs"
        )
    try:
        text = tokenizer.apply_chat_template(
            without_developer(turns, chosen_template(tokenizer.chat_template, tools=False)),
            tokenize=False,
            add_generation_prompt=True,
            **template_kwargs,
        )
    except TEMPLATE_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise refusal(f"the chat template refuses these messages: {reason}", "messages") from error
    ids = _tokenise(tokenizer, str(text))
    if not ids:
        raise refusal("the messages render to no tokens", "messages")
    return ids


def _tokenise(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenise rendered text; the template has already written the special tokens."""
    try:
        encoded = tokenizer(
            text, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
    except (TypeError, ValueError) as error:  # lone surrogates have no UTF-8 form
        raise refusal("the messages are not valid Unicode", "messages") from error
    return list(encoded["input_ids"])


def _plain(message: Message, where: str) -> dict[str, Any]:
    try:
        return policy_message(message)
    except MessageError as error:
        raise refusal(error.reason, f"{where}.{error.place}") from error
