"""What every dialect has in common: a body, what it asks to score, and the answer to it."""

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
"""How the client calls what it sent: a place among the items and one of its candidates or texts, or
None for the conversation that they answer."""


@dataclass(frozen=True)
class Answering:
    """What an answer is made of, beside the body."""

    scores: ScoreResponse
    info: ModelInfo | EnsembleInfo
    request_id: str
    created: int
    """Unix time."""

    @property
    def tokens(self) -> int:
        """Tokens of all texts, counted as other servers do: what texts share counts for each."""
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
    """What a body asks for."""

    items: Sequence[Scorable]
    where: Where
    answer: Callable[[Answering], Any]
    on_overflow: OnOverflow | None = None


class Dialect(Protocol):
    """A body, as it was decoded."""

    @property
    def model(self) -> str | None:
        """The served name; None takes the model where only one is served."""
        ...

    def translated(self) -> Translation:
        """Raises InvalidRequestError for what it asks that this server does not do."""
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
    """Raises InvalidRequestError for the first parameter that is set: what it asks for would change
    the answer, and is not done here."""
    for name, value in given.items():
        if value:
            raise InvalidRequestError(f"{name} is not supported here", param=name)


def need_some(name: str, values: Sequence[object]) -> None:
    """Raises InvalidRequestError."""
    if not values:
        raise InvalidRequestError(f"{name} is empty", param=name)


class VllmBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all bodies of vLLM's pooling routes may hold."""

    model: str | None = None
    use_activation: bool | None = None
    """False answers raw numbers. Null is true."""
    user: str | None = None
    """Not read, as the next three."""
    request_id: str | None = None
    priority: int = 0
    cache_salt: str | None = None
    truncate_prompt_tokens: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    """Tokens of a text that stay; -1 takes the model's limit."""


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
