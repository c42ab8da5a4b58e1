"""Common parts of all dialects: a body, the items that it asks to score, and the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

import msgspec

from reward_server.errors import InvalidRequestError, ScoreError
from reward_server.info import EnsembleInfo, ModelInfo
from reward_server.schema import OnOverflow, ScoreResponse
from reward_server.scoring.scorer import Scorable

T = TypeVar("T")
SOME = msgspec.Meta(extra_json_schema={"minItems": 1})
PLACE = re.compile(r"items\[(\d+)\]\.(?:completions\[(\d+)\]|messages)")

Where = Callable[[int, int | None], str]
"""Gives the client's own name for a part of its body. Takes the index of an item, and the index of
one of its candidates or texts, or None for the conversation that they answer."""


@dataclass(frozen=True)
class Answering:
    """Everything that an answer needs beside the body."""

    scores: ScoreResponse
    info: ModelInfo | EnsembleInfo
    request_id: str
    created: int
    """Unix time."""

    @property
    def tokens(self) -> int:
        """Tokens of all texts, counted as other servers do: a shared part counts for each text."""
        return sum(sum(item.tokens) for item in self.scores.results)

    def values(self, item: int, place: int) -> list[float]:
        """The raw numbers of one candidate or text, one for each label."""
        result, labels = self.scores.results[item], self.info.labels
        if len(labels) < 2:
            return [result.rewards[place]]
        return [result.labels[label][place] for label in labels]

    def reward(self, item: int, place: int) -> float:
        return self.scores.results[item].rewards[place]


@dataclass(frozen=True)
class Translation:
    """The scores that a body asks for."""

    items: Sequence[Scorable]
    where: Where
    answer: Callable[[Answering], Any]
    on_overflow: OnOverflow | None = None


class Dialect(Protocol):
    """A decoded body."""

    @property
    def model(self) -> str | None:
        """The served name; None takes the model where only one is served."""
        ...

    def translated(self) -> Translation:
        """Raises InvalidRequestError for anything that this server does not support."""
        ...


def renamed(error: ScoreError, where: Where) -> ScoreError:
    """The error with the client's own names in place of the scorer's paths."""

    def name(found: re.Match[str]) -> str:
        return where(int(found[1]), None if found[2] is None else int(found[2]))

    error.message = PLACE.sub(name, error.message)
    if error.param is not None:
        error.param = PLACE.sub(name, error.param)
    return error


def refuse(**given: object) -> None:
    """Raises InvalidRequestError for the first parameter that is set: it would change the answer,
    and this server does not support it."""
    for name, value in given.items():
        if value:
            raise InvalidRequestError(f"{name} is not supported here", param=name)


def need_some(name: str, values: Sequence[object]) -> None:
    """Raises InvalidRequestError."""
    if not values:
        raise InvalidRequestError(f"{name} is empty", param=name)


class VllmBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of all vLLM's pooling routes."""

    model: str | None = None
    use_activation: bool | None = None
    """False answers raw numbers. Null is true."""
    user: str | None = None
    """Ignored, like the next three."""
    request_id: str | None = None
    priority: int = 0
    cache_salt: str | None = None
    truncate_prompt_tokens: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    """Number of tokens to keep of a text; -1 takes the model's limit."""


class VllmUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0

    @classmethod
    def of(cls, answering: Answering) -> VllmUsage:
        return cls(answering.tokens, answering.tokens)


class VllmList(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """An answer of vLLM's, but for `/rerank`."""

    id: str
    object: str = "list"
    created: int
    model: str
    data: list[T]
    usage: VllmUsage

    @classmethod
    def of(cls, answering: Answering, kind: str, data: list[T]) -> Self:
        return cls(
            id=f"{kind}-{answering.request_id}",
            created=answering.created,
            model=answering.info.name,
            data=data,
            usage=VllmUsage.of(answering),
        )
