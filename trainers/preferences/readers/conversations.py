"""Chats in other clothes: ShareGPT's from and value, and OpenAI's preference form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.base.messages import answer_messages, chat_messages, prompt_messages
from trainers.base.template_inputs import INPUT_KEYS, NO_INPUTS, TemplateInputs, read_inputs
from trainers.preferences.readers import fields
from trainers.preferences.readers.context import with_context
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.gap import by_gap
from trainers.preferences.readers.lists import last_answer
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.readers.pairs import split_prompt
from trainers.preferences.records import ListedAnswer, Listwise, Pairwise
from trainers.preferences.tally import Tally

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "human": "user",
        "gpt": "assistant",
        "chatgpt": "assistant",
        "bing": "assistant",
        "bard": "assistant",
        "bot": "assistant",
        "model": "assistant",
        "observation": "tool",
        "function_response": "tool",
    }
)
"""Names that ShareGPT files give the roles, beside the usual ones."""


def _turn(value: Any, name: str) -> Any:
    """A turn of from and value as a message; a message as it is."""
    if not isinstance(value, Mapping) or "from" not in value:
        return value
    speaker, said = value["from"], value.get("value")
    if not isinstance(speaker, str):
        raise BadLineError(f"{name}.from: text is expected")
    rest = {key: item for key, item in value.items() if key not in ("from", "value")}
    if speaker == "function_call":
        return rest | {"role": "assistant", "content": "", "tool_calls": _calls(said, name)}
    return rest | {"role": ROLES.get(speaker, speaker), "content": said}


def _calls(said: Any, name: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"{name}.value: the JSON of a function call is expected") from error
    calls = found if isinstance(found, list) else [found]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise BadLineError(f"{name}.value: a function call with its name is expected")
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments")}}
        for call in calls
    ]


def _turns(values: Values, key: str) -> Any:
    value = fields.required(values, key)
    if isinstance(value, list):
        return [_turn(turn, f"{key}.{index}") for index, turn in enumerate(value)]
    return _turn(value, key)


class ShareGptReader(FormatReader):
    """ShareGPT: conversations of from and value that end with the answer; or conversations, chosen,
    rejected; or chosen and rejected as whole conversations of from and value."""

    def matches(self, values: Values) -> bool:
        if isinstance(values.get("conversations"), list):
            return True
        return all(_begins_with_from(values.get(key)) for key in ("chosen", "rejected"))

    def read(
        self, values: Values, tally: Tally, options: ReadOptions
    ) -> Iterator[Pairwise | Listwise]:
        if "conversations" not in values:
            chosen, rejected = (self._chat(values, key) for key in ("chosen", "rejected"))
            yield from by_gap(values, split_prompt(chosen, rejected, tally), tally)
        elif "chosen" in values:
            prompt = prompt_messages(self._chat(values, "conversations"), "conversations")
            better, worse = (self._answer(values, key) for key in ("chosen", "rejected"))
            margin = fields.optional_number(values, "margin")
            yield from by_gap(values, [Pairwise(prompt, better, worse, margin)], tally)
        else:
            prompt, found = last_answer(self._chat(values, "conversations"), "conversations")
            yield Listwise(prompt, (ListedAnswer(found),), references=fields.references(values))

    @staticmethod
    def _chat(values: Values, key: str) -> list[Message]:
        turns = _turns(values, key)
        messages = chat_messages(turns, key)
        fields.note(values, key, turns, messages)
        return with_context(values, messages)

    @staticmethod
    def _answer(values: Values, key: str) -> list[Message]:
        turns = _turns(values, key)
        messages = answer_messages(turns, key)
        fields.note(values, key, turns, messages)
        return messages


def _begins_with_from(value: Any) -> bool:
    return (
        isinstance(value, list) and isinstance(next(iter(value), None), dict) and "from" in value[0]
    )


class OpenAIPreferenceReader(FormatReader):
    """OpenAI's preference form: input.messages, preferred_output, non_preferred_output."""

    keys = ("input", "preferred_output", "non_preferred_output")

    def inputs(self, values: Values) -> TemplateInputs:
        asked = values.get("input")
        return read_inputs(asked) if isinstance(asked, dict) else NO_INPUTS

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        asked = fields.required(values, "input")
        if not isinstance(asked, dict):
            raise BadLineError("input: an object with messages is expected")
        # `inputs` reads what stands beside the messages.
        beside = {key: value for key, value in asked.items() if key not in INPUT_KEYS}
        inside = fields.part(values, beside, "input")
        try:
            prompt = with_context(values, fields.prompt(inside, "messages"))
        except BadLineError as error:
            raise type(error)(f"input.{printable(str(error))}") from error
        better = fields.answer(values, "preferred_output")
        yield Pairwise(prompt, better, fields.answer(values, "non_preferred_output"))
