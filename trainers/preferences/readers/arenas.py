"""Battles of two models, judged by people or by a model: arenas and MT-Bench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.gap import TIES
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.readers.pairs import split_prompt
from trainers.preferences.records import Pairwise
from trainers.preferences.tally import Tally

_WINNERS = {"model_a": 1, "model_b": -1, "a": 1, "b": -1, "tie": 0}
_WINNERS |= {"tie (bothbad)": 0, "both_bad": 0, "bothbad": 0}


def _pair(
    first: list[Message], second: list[Message], won: int, tally: Tally
) -> Iterator[Pairwise]:
    """`won` is 1 if the first won, -1 if the second did."""
    if won == 0:
        tally.drop(TIES)
    else:
        better, worse = (first, second) if won > 0 else (second, first)
        yield from split_prompt(better, worse, tally)


class ArenaReader(FormatReader):
    """Chatbot Arena and MT-Bench's judgements: conversation_a, conversation_b, winner (model_a,
    model_b, tie), turn?."""

    keys = ("conversation_a", "conversation_b", "winner")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        """A judgement of turn n is about the first n questions and their answers."""
        chats = [fields.conversation(values, key) for key in self.keys[:2]]
        winner = fields.text(values, "winner")
        if winner not in _WINNERS:
            raise BadLineError("winner: model_a, model_b or tie is expected")
        turn = fields.optional_number(values, "turn")
        if turn is not None:
            chats = [_until(chat, turn) for chat in chats]
        yield from _pair(chats[0], chats[1], _WINNERS[winner], tally)


def _until(chat: list[Message], turn: float) -> list[Message]:
    """The chat up to the answer to this question."""
    answered = 0
    for index, message in enumerate(chat):
        answered += message["role"] == "assistant"
        if answered == turn:
            return chat[: index + 1]
    return chat


class ArenaTableReader(FormatReader):
    """The arena's table: prompt, response_a, response_b (lists of turns, as JSON or not),
    winner_model_a, winner_model_b, winner_tie (0 or 1)."""

    keys = ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        asked = _texts(values, "prompt")
        chats = []
        for key in ("response_a", "response_b"):
            said = _texts(values, key)
            if len(said) != len(asked):
                raise BadLineError(f"{key}: {len(said)} answers for {len(asked)} prompts")
            chat: list[Message] = []
            for question, answer in zip(asked, said, strict=True):
                chat.append(Message(role="user", content=question))
                chat.append(Message(role="assistant", content=answer))
            chats.append(chat)
        names = ("winner_model_a", "winner_model_b")
        first, second = (fields.number(fields.required(values, name), name) for name in names)
        fields.optional_number(values, "winner_tie")
        yield from _pair(chats[0], chats[1], (first > second) - (first < second), tally)


def _texts(values: Values, key: str) -> list[str]:
    """A text for each turn; a turn without an answer is an empty text."""
    value: Any = fields.required(values, key)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadLineError(f"{key}: a JSON list of texts is expected") from error
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise BadLineError(f"{key}: a list of texts is expected")
    if not all(isinstance(text, str | None) for text in texts):
        raise BadLineError(f"{key}: a list of texts is expected")
    found = [text or "" for text in texts]
    try:
        "".join(found).encode()
    except UnicodeEncodeError as error:
        raise BadLineError(f"{key}: half a surrogate pair") from error
    return found
