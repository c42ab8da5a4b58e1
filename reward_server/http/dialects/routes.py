"""Which path speaks which dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from reward_server.http.dialects.dialect import Dialect
from reward_server.http.dialects.openrlhf import GetRewardRequest, GetRewardResponse
from reward_server.http.dialects.tei import Prediction, PredictRequest, Rank, RankRequest
from reward_server.http.dialects.vllm_pairs import (
    PairScoreRequest,
    PairScoreResponse,
    RerankRequest,
    RerankResponse,
)
from reward_server.http.dialects.vllm_texts import (
    ClassifyRequest,
    ClassifyResponse,
    PoolingRequest,
    PoolingResponse,
)


@dataclass(frozen=True)
class DialectRoute:
    path: str
    body: Any
    """The type of the body. If a path has several, the first whose own field is present."""
    answer: Any
    summary: str
    other: tuple[str, Any] | None = None
    """A field that marks another type of body, and that type."""

    @property
    def bodies(self) -> tuple[Any, ...]:
        return (self.body,) if self.other is None else (self.body, self.other[1])


Predictions = list[Prediction | list[Prediction]]
_RERANK = "Documents in the order of their scores, as vLLM, Jina and Cohere answer."
ROUTES = (
    DialectRoute("/classify", ClassifyRequest, ClassifyResponse, "As vLLM's."),
    DialectRoute("/pooling", PoolingRequest, PoolingResponse, "As vLLM's, of a classifier."),
    DialectRoute("/score", PairScoreRequest, PairScoreResponse, "As vLLM's, of a cross-encoder."),
    DialectRoute(
        "/rerank",
        RerankRequest,
        RerankResponse | list[Rank],
        f"{_RERANK} With texts in place of documents, as text-embeddings-inference answers.",
        ("texts", RankRequest),
    ),
    DialectRoute("/v1/rerank", RerankRequest, RerankResponse, _RERANK),
    DialectRoute("/v2/rerank", RerankRequest, RerankResponse, _RERANK),
    DialectRoute("/predict", PredictRequest, Predictions, "As text-embeddings-inference's."),
    DialectRoute("/get_reward", GetRewardRequest, GetRewardResponse, "As OpenRLHF's."),
)

Fields = dict[str, msgspec.Raw]
__all__ = ["ROUTES", "Dialect", "DialectRoute", "Fields"]
