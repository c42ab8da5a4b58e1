"""Hugging Face's text-embeddings-inference: ``/predict``, and its ``/rerank`` with ``texts``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from reward_server.errors import InvalidRequestError
from reward_server.http.dialects.dialect import SOME, Answering, Translation, need_some, refuse
from reward_server.schema import ScoreItem
from reward_server.scoring.activation import activated
from reward_server.scoring.scorer import Scorable
from reward_server.scoring.texts import Cut, RawText, Texts

_TEXT = {"type": "string"}
_ONE_OR_TWO = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2}
_INPUTS = msgspec.Meta(
    extra_json_schema={
        "anyOf": [_TEXT, _ONE_OR_TWO, {"type": "array", "items": _ONE_OR_TWO, "minItems": 1}]
    }
)


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of TEI's `POST /predict`."""

    inputs: Annotated[str | list[Any], _INPUTS]
    """A text, a pair of texts, or a list of lists of one or two texts."""
    truncate: bool = False
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    raw_scores: bool = False
    parameters: dict[str, Any] | None = None
    """Hugging Face's clients send it empty; anything in it is refused."""

    @property
    def model(self) -> None:
        """The URL names it."""
        return None

    def translated(self) -> Translation:
        refuse(**{f"parameters.{name}": True for name in self.parameters or {}})
        batch, single = _inputs(self.inputs)
        cut = Cut("left" if self.truncation_direction in {"Left", "left"} else "right")
        # All single texts make one item, the last one; each pair is an item of its own.
        alone: list[RawText] = []
        pairs: list[Scorable] = []
        last = sum(len(one) == 2 for one in batch)
        places: list[tuple[int, int]] = []
        for one in batch:
            if len(one) == 1:
                places.append((last, len(alone)))
                alone.append(one[0])
            else:
                places.append((len(pairs), 0))
                pairs.append(_pair(*one))
        texts = Texts(alone, cut=cut if self.truncate else None)
        items = [*pairs, texts] if alone else pairs
        named = {place: number for number, place in enumerate(places)}

        def where(item: int, place: int | None) -> str:
            return "inputs" if single else f"inputs[{named[item, place or 0]}]"

        def answer(answering: Answering) -> Any:
            predictions = [self._prediction(answering, *place) for place in places]
            return predictions[0] if single else predictions

        overflow: Literal["truncate_prompt"] | None = "truncate_prompt" if self.truncate else None
        return Translation(items, where, answer, overflow)

    def _prediction(self, answering: Answering, item: int, place: int) -> list[Prediction]:
        values, labels = answering.values(item, place), answering.info.labels
        if not self.raw_scores:
            values = _probabilities(values, answering)
        found = [Prediction(score, label) for score, label in zip(values, labels, strict=True)]
        return sorted(found, key=lambda one: -one.score)


class RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of TEI's `POST /rerank`."""

    query: str
    texts: Annotated[list[str], SOME]
    truncate: bool = False
    """Cuts the query's left side, never a text."""
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    """Not read."""
    raw_scores: bool = False
    return_text: bool = False

    @property
    def model(self) -> None:
        return None

    def translated(self) -> Translation:
        need_some("texts", self.texts)

        def answer(answering: Answering) -> list[Rank]:
            rewards = [answering.reward(0, place) for place in range(len(self.texts))]
            if not self.raw_scores:
                rewards = [_probabilities([reward], answering)[0] for reward in rewards]
            found = [
                Rank(index, score, self.texts[index] if self.return_text else None)
                for index, score in enumerate(rewards)
            ]
            return sorted(found, key=lambda one: -one.score)

        item = ScoreItem(
            messages=[{"role": "user", "content": self.query}], completions=[*self.texts]
        )
        overflow: Literal["truncate_prompt"] | None = "truncate_prompt" if self.truncate else None
        return Translation([item], _of_rank, answer, overflow)


class Prediction(msgspec.Struct, frozen=True):
    score: float
    label: str


class Rank(msgspec.Struct, frozen=True, omit_defaults=True):
    index: int
    score: float
    text: str | None = None


def _probabilities(values: Sequence[float], answering: Answering) -> list[float]:
    """As TEI, whatever the model's configuration says: a softmax over several labels, otherwise a
    sigmoid. TEI knows no process reward models, whose scores are probabilities already."""
    if answering.info.gives_probabilities:
        return [*values]
    return activated(values, "sigmoid" if len(values) < 2 else "softmax")


def _of_rank(_: int, place: int | None) -> str:
    return "query" if place is None else f"texts[{place}]"


def _pair(first: str, second: str) -> ScoreItem:
    return ScoreItem(messages=[{"role": "user", "content": first}], completions=[second])


def _inputs(given: str | list[Any]) -> tuple[list[list[str]], bool]:
    """Lists of one or two texts, and whether the client sent a single one. Raises
    InvalidRequestError."""
    if isinstance(given, str):
        return [[given]], True
    need_some("inputs", given)
    if _fits(given):
        return [given], True
    for place, one in enumerate(given):
        if not (isinstance(one, list) and _fits(one)):
            where = f"inputs[{place}]"
            raise InvalidRequestError(f"{where}: not a list of one or two texts", param=where)
    return given, False


def _fits(texts: list[Any]) -> bool:
    return 1 <= len(texts) <= 2 and all(isinstance(text, str) for text in texts)
