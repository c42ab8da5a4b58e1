"""From conversations to token ids, as a server feeds them to a policy.

Every policy trainer comes through here, so that what is learnt and what is sampled begin with the
same tokens. How a reward model reads a finished conversation is `trainers.rewards.one`'s part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from bon_common.chat_template import chosen_template, without_developer
from bon_common.messages import policy_message
from reward_server.scoring.render import strip_repeated
from trainers.base.data import Conversation
from trainers.base.errors import ModelError
from trainers.base.template import refusals


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, asked: Conversation, where: str = "a prompt"
) -> list[int]:
    """The ids after which a server lets the policy write: the chat template's generation prompt.

    Raises DataError, beginning with `where`, for messages that the template refuses.
    """
    return text_ids(tokenizer, prompt_text(tokenizer, asked, where), where)


def conversation_ids(
    tokenizer: PreTrainedTokenizerBase, shown: Conversation, where: str = "a conversation"
) -> list[int]:
    """The ids of a conversation that asks for no answer; DataError as `prompt_ids`."""
    return text_ids(tokenizer, conversation_text(tokenizer, shown, where), where)


def prompt_text(tokenizer: PreTrainedTokenizerBase, asked: Conversation, where: str) -> str:
    """The text of `prompt_ids`."""
    return _text(tokenizer, asked, where, add_generation_prompt=True)


def conversation_text(tokenizer: PreTrainedTokenizerBase, shown: Conversation, where: str) -> str:
    """The text of `conversation_ids`."""
    return _text(tokenizer, shown, where, add_generation_prompt=False)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str, where: str) -> list[int]:
    """The ids of a rendered text; DataError as `prompt_ids`."""
    with refusals(where):
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(strip_repeated(tuple(ids), tokenizer.bos_token_id))


def _text(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    *,
    add_generation_prompt: bool,
) -> str:
    with refusals(where):
        return str(
            tokenizer.apply_chat_template(
                **template_arguments(tokenizer, shown),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        )


def template_arguments(tokenizer: PreTrainedTokenizerBase, shown: Conversation) -> dict[str, Any]:
    """What a policy's server hands to `apply_chat_template`; MessageError for content that is not
    text."""
    tools = served_tools(shown.inputs.tools)
    template = chosen_template(tokenizer.chat_template, tools=bool(tools))
    turns = [policy_message(message) for message in shown.messages]
    return {
        "conversation": without_developer(turns, template),
        "tools": tools or None,
        **shown.inputs.template_kwargs,
    }


FUNCTION_KEYS = ("name", "description", "parameters", "strict")


def served_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tool definitions as vLLM gives them to the template. It prints them as its own classes hold
    them: known keys alone, in its order, and null where a description or parameters are missing.
    """
    served = []
    for tool in tools:
        own = tool["function"]
        function = {"description": None, "parameters": None, **own}
        known = {key: function[key] for key in FUNCTION_KEYS if key in function}
        if known.get("strict", False) is None:
            del known["strict"]
        served.append({"type": "function", "function": known})
    return served


def until_end_of_turn(
    tokenizer: PreTrainedTokenizerBase,
    folder: str,
    ids: list[int],
    ends: frozenset[int] | None = None,
) -> list[int]:
    """An answer up to its end-of-turn token. No policy generates what a template writes after it.

    `ends` are the tokens at which the policy's server stops, by default the tokenizer's alone.
    Raises ModelError if there is none: the policy would not learn to stop.
    """
    ends = ends or frozenset({tokenizer.eos_token_id})
    for place, token in enumerate(ids):
        if token in ends:
            return ids[: place + 1]
    known = ", ".join(str(tokenizer.convert_ids_to_tokens(token)) for token in sorted(ends))
    raise ModelError(
        f"{folder}: the chat template does not close an answer with the end-of-turn token "
        f"{known}, so the policy would not learn to stop; set eos_token to the token that it writes"
    )
