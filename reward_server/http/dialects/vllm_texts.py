"""vLLM's ``/classify`` and ``/pooling``: a conversation that ends with an answer, or texts.

verl's reward loop sends its rendered texts to ``/classify`` too.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from reward_server.errors import InvalidRequestError
from reward_server.http.dialects.dialect import (
    SOME,
    Answering,
    Translation,
    VllmBody,
    VllmList,
    Where,
    need_some,
    refuse,
)
from reward_server.schema import Message, ScoreItem
from reward_server.scoring.activation import activated
from reward_server.scoring.scorer import Scorable
from reward_server.scoring.texts import Cut, RawText, Texts

_IDS = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
_INPUTS = msgspec.Meta(
    extra_json_schema={
        "anyOf": [
            {"type": "string"},
            _IDS,
            {"type": "array", "items": {"anyOf": [{"type": "string"}, _IDS]}, "minItems": 1},
        ]
    }
)
Inputs = Annotated[str | list[Any], _INPUTS]
"""A text, the ids of one, or several of either."""


class ClassifyRequest(VllmBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of vLLM's `POST /classify`, with either `messages` or `input`."""

    messages: Annotated[list[Message], SOME] | None = None
    """A conversation whose last message is the answer."""
    input: Inputs | None = None
    add_special_tokens: bool | None = None
    """True by default for texts. The chat template adds them already."""
    truncation_side: Literal["left", "right"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Only `tools` is read."""
    add_generation_prompt: bool = False
    continue_final_message: bool = False
    chat_template: str | None = None
    padding: Literal["max_length", "do_not_pad"] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, Any] | None = None

    def translated(self) -> Translation:
        return Translation(*self._read(), answer=self._answer)

    def _read(self) -> tuple[list[Scorable], Where]:
        refuse(
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=self.continue_final_message,
            chat_template=self.chat_template,
            padding=self.padding == "max_length",
            mm_processor_kwargs=self.mm_processor_kwargs,
            media_io_kwargs=self.media_io_kwargs,
        )
        if (self.messages is None) is (self.input is None):
            raise InvalidRequestError("give either messages or input", param="input")
        if self.messages is not None:
            return self._conversation(self.messages)
        refuse(chat_template_kwargs=self.chat_template_kwargs)
        texts, single = _texts(self.input)
        cut = None
        if self.truncate_prompt_tokens is not None:
            limit = self.truncate_prompt_tokens
            if limit == 0:
                raise InvalidRequestError("nothing would be left", param="truncate_prompt_tokens")
            cut = Cut(self.truncation_side or "right", None if limit == -1 else limit)
        special = self.add_special_tokens is not False
        item = Texts(texts, special_tokens=special, cut=cut)

        def where(_: int, place: int | None) -> str:
            return "input" if single or place is None else f"input[{place}]"

        return [item], where

    def _conversation(self, messages: list[Message]) -> tuple[list[Scorable], Where]:
        refuse(
            add_special_tokens=self.add_special_tokens,
            truncate_prompt_tokens=self.truncate_prompt_tokens is not None,
        )
        options = dict(self.chat_template_kwargs or {})
        tools = options.pop("tools", None)
        refuse(**{f"chat_template_kwargs.{name}": True for name in options})
        if tools is not None and not (
            isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)
        ):
            raise InvalidRequestError("tools is a list of objects", param="chat_template_kwargs")
        need_some("messages", messages)
        last = len(messages) - 1
        if messages[last].get("role") != "assistant" or not last:
            reason = "the last message must be the assistant's, after at least one other"
            raise InvalidRequestError(reason, param="messages")
        item = ScoreItem(messages=messages[:-1], completions=[*messages[-1:]], tools=tools)
        return [item], lambda _, place: "messages" if place is None else f"messages[{last}]"

    def _probabilities(self, answering: Answering) -> list[list[float]]:
        count = len(answering.scores.results[0].rewards)
        raw = [answering.values(0, place) for place in range(count)]
        if self.use_activation is False:
            return raw
        return [activated(values, answering.info.activation) for values in raw]

    def _answer(self, answering: Answering) -> Any:
        labels = answering.info.labels
        classified = [
            Classified(place, labels[probs.index(max(probs))], probs, len(probs))
            for place, probs in enumerate(self._probabilities(answering))
        ]
        return ClassifyResponse.of(answering, "classify", classified)


class PoolingRequest(ClassifyRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of vLLM's `POST /pooling`."""

    task: Literal["classify"] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    embed_dtype: Literal["float32"] = "float32"
    endianness: Literal["native", "little"] = "native"
    dimensions: int | None = None

    def translated(self) -> Translation:
        refuse(dimensions=self.dimensions)
        return Translation(*self._read(), answer=self._answer)

    def _answer(self, answering: Answering) -> Any:
        values = self._probabilities(answering)
        packed = self.encoding_format == "base64"
        pooled = [
            PooledValues(place, _base64(own) if packed else own) for place, own in enumerate(values)
        ]
        return PoolingResponse.of(answering, "pooling", pooled)


class Classified(msgspec.Struct, frozen=True):
    index: int
    label: str
    """Label of the largest number."""
    probs: list[float]
    num_classes: int


class ClassifyResponse(VllmList[Classified], frozen=True, kw_only=True):
    """Answer to `POST /classify`."""


class PooledValues(msgspec.Struct, frozen=True):
    index: int
    data: list[float] | str
    object: str = "pooling"


class PoolingResponse(VllmList[PooledValues], frozen=True, kw_only=True):
    """Answer to `POST /pooling`."""


def _texts(given: Any) -> tuple[list[RawText], bool]:
    """The texts, and whether the client sent one alone. Raises InvalidRequestError."""
    if isinstance(given, str):
        return [given], True
    if given and _are_ids(given):
        return [tuple(given)], True
    texts: list[RawText] = []
    for place, one in enumerate(given):
        if not isinstance(one, str) and not (isinstance(one, list) and one and _are_ids(one)):
            reason = "neither a text nor the ids of one"
            raise InvalidRequestError(f"input[{place}]: {reason}", param=f"input[{place}]")
        texts.append(one if isinstance(one, str) else tuple(one))
    need_some("input", texts)
    return texts, False


def _are_ids(values: Sequence[Any]) -> bool:
    return all(type(value) is int for value in values)


def _base64(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode("ascii")
