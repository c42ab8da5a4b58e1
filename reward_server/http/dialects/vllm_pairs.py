"""vLLM's ``/score`` and the ``/rerank`` that it shares with Jina and Cohere: a query and documents.

The query becomes the user's message and the document the answer, in the model's chat template. An
encoder without a template reads them as a pair, as in vLLM. For a decoder vLLM joins the two texts
without any template, a form on which no reward model was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from reward_server.errors import InvalidRequestError
from reward_server.http.dialects.dialect import (
    SOME,
    Answering,
    Translation,
    VllmBody,
    VllmList,
    VllmUsage,
    need_some,
    refuse,
)
from reward_server.schema import ScoreItem
from reward_server.scoring.activation import activated


class TextDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document as Jina's and Cohere's clients may send it."""

    text: str


class PairsBody(VllmBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_tokens_per_query: int = 0
    max_tokens_per_doc: int | None = None
    instruction: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def refuse_unread(self) -> None:
        """Raises InvalidRequestError."""
        refuse(
            max_tokens_per_query=self.max_tokens_per_query,
            max_tokens_per_doc=self.max_tokens_per_doc,
            instruction=self.instruction,
            chat_template_kwargs=self.chat_template_kwargs,
            # A pair cannot be cut as one text: `on_overflow` decides how a conversation is cut.
            truncate_prompt_tokens=self.truncate_prompt_tokens is not None,
        )

    def score_of(self, answering: Answering, item: int, place: int) -> float:
        """One number, even from a model with several labels: vLLM has no answer for such a
        model."""
        reward = answering.reward(item, place)
        raw = self.use_activation is False or answering.info.activation == "none"
        return reward if raw else activated([reward], "sigmoid")[0]


_Side = Annotated[str | Annotated[list[str], SOME], msgspec.Meta()]


class PairScoreRequest(PairsBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of vLLM's `POST /score`: one text against one or several, or two lists of the same
    length. The two sides have one of four pairs of names."""

    text_1: _Side | None = None
    text_2: _Side | None = None
    queries: _Side | None = None
    documents: _Side | None = None
    items: _Side | None = None
    """Instead of `documents`."""
    data_1: _Side | None = None
    data_2: _Side | None = None

    def translated(self) -> Translation:
        self.refuse_unread()
        (left_name, left), (right_name, right) = self._sides()
        many = len(left) > 1
        if many and len(left) != len(right):
            reason = f"{left_name} and {right_name} are one and several, or as many as each other"
            raise InvalidRequestError(reason, param=right_name)

        def where(item: int, place: int | None) -> str:
            name, number = (left_name, item) if place is None else (right_name, item + place)
            return f"{name}[{number}]"

        items = (
            [_pair(query, [document]) for query, document in zip(left, right, strict=True)]
            if many
            else [_pair(left[0], right)]
        )

        def answer(answering: Answering) -> PairScoreResponse:
            places = [(i, 0) for i in range(len(right))] if many else [
                (0, i) for i in range(len(right))
            ]  # fmt: skip
            scores = [
                PairScore(index, self.score_of(answering, item, place))
                for index, (item, place) in enumerate(places)
            ]
            return PairScoreResponse.of(answering, "score", scores)

        return Translation(items, where, answer)

    def _sides(self) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
        names = (
            ("text_1", "text_2"),
            ("queries", "documents"),
            ("queries", "items"),
            ("data_1", "data_2"),
        )
        given = [
            name
            for name in ("text_1", "text_2", "queries", "documents", "items", "data_1", "data_2")
            if getattr(self, name) is not None
        ]
        if tuple(given) not in names:
            raise InvalidRequestError("give text_1 and text_2, and no other texts", param="text_1")
        first, second = ((name, _several(getattr(self, name), name)) for name in given)
        return first, second


class RerankRequest(PairsBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of vLLM's, Jina's and Cohere's `POST /rerank`, `/v1/rerank` and `/v2/rerank`."""

    query: str
    documents: Annotated[list[str | TextDocument], SOME]
    top_n: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """How many of the best documents to answer with; 0 or null takes all."""
    return_documents: bool = True

    def translated(self) -> Translation:
        self.refuse_unread()
        need_some("documents", self.documents)
        texts = [one if isinstance(one, str) else one.text for one in self.documents]

        def answer(answering: Answering) -> RerankResponse:
            results = [
                Reranked(
                    index,
                    self.score_of(answering, 0, index),
                    RerankedDocument(text) if self.return_documents else None,
                )
                for index, text in enumerate(texts)
            ]
            # Equal scores keep their order.
            results.sort(key=lambda result: -result.relevance_score)
            return RerankResponse(
                id=f"score-{answering.request_id}",
                model=answering.info.name,
                usage=VllmUsage.of(answering),
                results=results[: self.top_n or None],
            )

        return Translation([_pair(self.query, texts)], _of_rerank, answer)


def _of_rerank(_: int, place: int | None) -> str:
    return "query" if place is None else f"documents[{place}]"


class PairScore(msgspec.Struct, frozen=True):
    index: int
    score: float
    object: str = "score"


class PairScoreResponse(VllmList[PairScore], frozen=True, kw_only=True):
    """Answer to `POST /score`."""


class RerankedDocument(msgspec.Struct, frozen=True):
    text: str


class Reranked(msgspec.Struct, frozen=True, omit_defaults=True):
    index: int
    relevance_score: float
    document: RerankedDocument | None = None


class RerankResponse(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    model: str
    usage: VllmUsage
    results: list[Reranked]
    """The best first."""


def _pair(query: str, documents: Sequence[str]) -> ScoreItem:
    return ScoreItem(messages=[{"role": "user", "content": query}], completions=[*documents])


def _several(texts: Any, name: str) -> list[str]:
    found = [texts] if isinstance(texts, str) else texts
    need_some(name, found)
    return [*found]
