"""How alike candidates are: one section of settings for each way to measure it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Discriminator, Field

from bon_common.hooks import HookName, is_async, load_hook
from bon_common.selection.similarity import cosine_consensus, ngram_consensus
from bon_gateway.sections.base import Component
from bon_gateway.strategies.embedding import AnswerComparison

MeasureConsensus = Callable[[Sequence[str], AnswerComparison], Awaitable[list[float]]]
"""Gives each answer's mean similarity to the others, in the same order. Raises EmbedderError if it
embeds."""

KEY = "similarity.function"
READ = 8192
"""Characters of an answer that are compared. 64 answers of that length take one core half a second,
and 8 of them 30 ms."""
SHORT = 4096
"""Characters of all answers together that are compared at once, within 5 ms. A thread compares
more, because all other requests would wait meanwhile."""


class SimilaritySettings(Component):
    @property
    def embeds_with(self) -> str | None:
        """The name of the embedder that it needs, if any."""
        return None

    @abstractmethod
    def build(self, comparing: asyncio.Lock) -> MeasureConsensus:
        """The function that measures. It holds ``comparing`` while a thread of its own computes."""


class NgramSimilaritySettings(SimilaritySettings):
    """How many sequences of ``size`` characters two answers share, from 0 to 1 (chrF with a single
    order). It needs no model, and knows nothing of meaning: answers that say the same in other
    words are not alike. Upper and lower case and white space do not count. It compares the first
    8192 characters."""

    type: Literal["ngrams"] = "ngrams"
    size: Annotated[int, Field(ge=1, le=8)] = 3
    """Characters in a sequence. Larger ones ask for longer common phrases. An answer that is
    shorter is alike only to its equals."""

    def build(self, comparing: asyncio.Lock) -> MeasureConsensus:
        async def measure(texts: Sequence[str], _: AnswerComparison) -> list[float]:
            read = [text[:READ] for text in texts]
            if sum(map(len, read)) <= SHORT:
                return ngram_consensus(read, self.size)
            async with comparing:
                return await asyncio.to_thread(ngram_consensus, read, self.size)

        return measure


class HookSimilaritySettings(SimilaritySettings):
    """The cosine of embeddings that a function of yours computes. An answer's embedding knows its
    meaning, where ``ngrams`` knows only its letters."""

    type: Literal["hook"]
    function: HookName
    """``package.module:function``, plain or ``async``. It gets the texts of the answers to one
    request and returns a vector of numbers for each. A plain function runs in a thread, where it
    may be called for several requests at once. Only the settings file may name it."""

    def check(self) -> None:
        load_hook(self.function, "texts", key=KEY)

    def build(self, comparing: asyncio.Lock) -> MeasureConsensus:
        function = load_hook(self.function, "texts", key=KEY)

        async def measure(texts: Sequence[str], _: AnswerComparison) -> list[float]:
            if is_async(function):
                vectors = await function(texts)
                async with comparing:
                    return await asyncio.to_thread(_of_vectors, vectors, len(texts))
            return await asyncio.to_thread(lambda: _of_vectors(function(texts), len(texts)))

        return measure


class EmbedderSimilaritySettings(SimilaritySettings):
    """The cosine of embeddings by one of ``embedders``. If it is down, the reward alone decides, or
    without rewards the order of the candidates; with ``fallback: error`` it is an error. The answer
    is degraded (``embedder_unavailable``)."""

    type: Literal["embedder"]
    embedder: str
    """A name in ``embedders``."""

    @property
    def embeds_with(self) -> str:
        return self.embedder

    def build(self, comparing: asyncio.Lock) -> MeasureConsensus:
        async def measure(texts: Sequence[str], answers: AnswerComparison) -> list[float]:
            return await answers.consensus(self.embedder, texts)

        return measure


def _of_vectors(given: Any, count: int) -> list[float]:
    """Raises ValueError unless ``given`` has one vector for each of ``count`` answers."""
    vectors = [[float(value) for value in vector] for vector in given]
    if len(vectors) != count:
        raise ValueError(f"it returned {len(vectors)} vectors for {count} answers")
    return cosine_consensus(vectors)


SIMILARITIES: tuple[type[SimilaritySettings], ...] = (
    NgramSimilaritySettings,
    HookSimilaritySettings,
    EmbedderSimilaritySettings,
)
"""All that lists the ways is derived from this tuple: the settings, docs/settings.md, the chart's
schema."""

if TYPE_CHECKING:
    AnySimilarity = SimilaritySettings
else:
    _KINDS = Union[SIMILARITIES]  # noqa: UP007 - of a tuple
    AnySimilarity = Annotated[_KINDS, Discriminator("type")]
