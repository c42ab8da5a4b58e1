"""Embeds the answers of one request, each text once, and compares the vectors.

The request keeps its vectors: a strategy that draws in waves embeds only new answers. An embedder
that fails gets no more calls, so that all answers of a request are compared in one way. Each
strategy decides what to do without vectors; the answer is always marked.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.classes import similar_classes
from bon_common.selection.similarity import cosine_consensus, unit_vector
from bon_gateway.errors import EmbedderError
from bon_gateway.protocols import Trace
from bon_gateway.types import ChatRequest, Vector

MOST_TEXTS = 512
"""Largest number of different answers of one request to embed and compare."""
GRACE_S = 0.1
"""Least number of seconds for embedding, even after the request's deadline."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """Compares the answers of one request. ``comparing`` is the referee's: it is held while a
    thread computes."""

    request: ChatRequest
    trace: Trace
    comparing: asyncio.Lock

    async def consensus(self, embedder: str, texts: Sequence[str]) -> list[float]:
        """Each text's mean cosine to the others. Raises EmbedderError."""
        vectors = await self._vectors(embedder, texts)
        async with self.comparing:
            found = await asyncio.to_thread(cosine_consensus, vectors)
        self._note_diversity(vectors, found)
        return found

    async def classes(self, embedder: str, threshold: float, texts: Sequence[str]) -> list[int]:
        """For each text the index of the first text of its class. Raises EmbedderError."""
        vectors = await self._vectors(embedder, texts)
        async with self.comparing:
            consensus = await asyncio.to_thread(cosine_consensus, vectors)
            found = await asyncio.to_thread(similar_classes, vectors, threshold)
        self._note_diversity(vectors, consensus)
        return found

    def _note_diversity(self, vectors: Sequence[Vector], consensus: Sequence[float]) -> None:
        """1 minus the mean cosine of two answers with words. The zeros of the others say nothing
        about distance, and add nothing to the sum of all cosines."""
        count = sum(map(any, vectors))
        if count > 1:
            cosines = math.fsum(consensus) * (len(vectors) - 1)
            self.trace.diversity = max(0.0, 1 - cosines / (count * (count - 1)))

    async def _vectors(self, embedder: str, texts: Sequence[str]) -> list[Vector]:
        """The vectors, of length 1. A text without a word has zeros, which are similar to
        nothing."""
        trace = self.trace
        if trace.embedder_lost:
            raise EmbedderError("the embedder has failed for this request")
        new = [text for text in dict.fromkeys(texts) if text.strip() and text not in trace.vectors]
        try:
            if len(trace.vectors) + len(new) > MOST_TEXTS:
                raise EmbedderError(f"there are more than {MOST_TEXTS} answers to compare")
            if new:
                trace.vectors.update(zip(new, await self._embed(embedder, new), strict=True))
            sizes = {len(vector) for vector in trace.vectors.values()}
            if len(sizes) > 1:
                raise EmbedderError("the embedder's vectors differ in length")
        except EmbedderError as error:
            trace.embedder_lost = True
            fields = {
                "request_id": self.request.request_id,
                "embedder": embedder,
                "reason": error.message,
            }
            _log.info("answers are not embedded", extra={"fields": fields})
            raise
        zeros = [0.0] * max(sizes, default=0)
        return [trace.vectors.get(text, zeros) for text in texts]

    async def _embed(self, embedder: str, texts: Sequence[str]) -> list[Vector]:
        # It may begin long after a deadline that has cut the draw short.
        end, now = self.trace.deadline_at, asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(None if end is None else max(end, now) + GRACE_S):
                given = await self.trace.embedders[embedder].embed(texts, self.request.caller)
        except TimeoutError:
            raise EmbedderError("the embedder did not answer by the deadline") from None
        async with self.comparing:
            vectors: list[Vector] = await asyncio.to_thread(
                lambda: [unit_vector(one) for one in given]
            )
        if not all(map(any, vectors)):
            # It has no direction, so it would count as unlike everything, equal answers included.
            raise EmbedderError("the embedder gave a vector of zeros")
        return vectors
