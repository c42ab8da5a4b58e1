"""Draw N candidates and answer with the best by reward and consensus together (MBR-BoN,
arXiv 2404.01054).

A candidate is worth its reward plus `beta` times its mean similarity to the other candidates that
may win. With `beta` 0 it is `best_of_n`; the larger it is, the more the winner says what most
candidates say. Without a reward model, or with `beta: null`, consensus alone decides (minimum Bayes
risk decoding).

It helps where the reward model can be fooled: an answer that exploits it is rarely like the others.
On short answers of a small real model, 0.574 of its choices were right with `n` 16, and 0.557 of
those of `best_of_n`; with a weak reward model and `n` 32, 0.487 and 0.339 (docs/replay.md). It
needs no final answer, which the strategies that vote look for. It harms where the best answer is
the unusual one, and where `similarity` sees form and not meaning: of the choices by consensus
alone, 0.484 were right. It costs as many tokens as `best_of_n`.

Candidates without a reward come last; if none has one, `fallback` decides. No request may set
`beta`, which has to be calibrated (`bon-gateway calibrate`). A request that chooses this strategy
for a model that has another gets the default.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat

from bon_common.selection.extract.tool_calls import called
from bon_common.selection.mbr import mbr_values
from bon_gateway.errors import EmbedderError, GatewayError
from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.conversation import answer_text
from bon_gateway.strategies.decide import contenders, led_by, rank
from bon_gateway.strategies.embedding import AnswerComparison
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.similarity import (
    AnySimilarity,
    MeasureConsensus,
    NgramSimilaritySettings,
)
from bon_gateway.types import Candidate, ChatRequest, Selection
from bon_gateway.unexpected import log_unexpected

_log = logging.getLogger(__name__)


class MbrSettings(DrawSettings):
    type: Literal["mbr"]
    beta: NonNegativeFloat | None = 1.0
    """What consensus is worth, in the reward model's own unit: an answer that is equal to all
    others gets this much more than one that shares nothing with them. Raise it if answers get worse
    by people's judgement while rewards rise with N; lower it if answers become ordinary. Set it
    anew for another reward model or another ``similarity``. None scores nothing: consensus alone
    decides."""
    fallback: Literal["first", "confidence", "error"] = "first"
    """What to answer if no candidate has a reward, because the reward model is down or refuses the
    conversation: with ``first`` consensus alone decides, with ``confidence`` the highest mean
    log-probability; ``error`` is an error. With ``confidence`` the policy is asked for
    log-probabilities in every request, which makes its answers larger. With ``error`` nothing is
    drawn while the reward model is down."""
    similarity: AnySimilarity = NgramSimilaritySettings()
    """How alike two answers are."""

    needs_reward: ClassVar[bool] = False

    @property
    def embeds(self) -> Mapping[str, str]:
        name = self.similarity.embeds_with
        return {} if name is None else {"similarity.embedder": name}

    def check(self) -> None:
        self.similarity.check()

    def build(self, referee: Referee) -> Mbr:
        return Mbr(self, referee, measure=self.similarity.build(referee.comparing))


@dataclass(frozen=True, slots=True)
class Mbr(PoolStrategy):
    settings: MbrSettings
    measure: MeasureConsensus = field(kw_only=True)

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        scored_by = None if self.settings.beta is None else reward
        return await PoolStrategy.run(self, request, policy, scored_by, trace)

    async def decide(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        """Raises GatewayError if similarity cannot be measured."""
        rivals = sorted(contenders(candidates))
        if self.settings.beta == 0 or len(rivals) < 2:
            return rank(candidates)
        comparison = AnswerComparison(request, trace, self.referee.comparing)
        texts = self._texts(request, policy, [candidates[p] for p in rivals])
        try:
            consensus = await self._consensus(texts, comparison)
        except EmbedderError:
            if self.settings.fallback == "error":
                raise
            return rank(candidates)
        worth = dict(zip(rivals, consensus, strict=True))
        scored = {p: reward for p in rivals if (reward := candidates[p].reward) is not None}
        if scored and self.settings.beta is not None:
            similar = [worth[position] for position in scored]
            values = mbr_values([*scored.values()], similar, self.settings.beta)
            worth = dict(zip(scored, values, strict=True))
        return led_by(sorted(worth, key=lambda position: -worth[position]), candidates)

    def _texts(
        self, request: ChatRequest, policy: PolicyBackend, rivals: Sequence[Candidate]
    ) -> list[str]:
        """Text and tool calls of each answer."""
        prefill = Prefill.of(request)
        texts = []
        for rival in rivals:
            message = {} if rival.completion is None else rival.completion.message
            text = answer_text(message, policy.thinking, prefill)
            calls = called(message.get("tool_calls") or ())
            texts.append("\n".join(filter(None, (text, calls))))
        return texts

    async def _consensus(self, texts: Sequence[str], comparison: AnswerComparison) -> list[float]:
        try:
            return await self.measure(texts, comparison)
        except EmbedderError:
            raise
        except Exception as error:
            request_id = comparison.request.request_id
            fields = {"request_id": request_id, "similarity": self.settings.similarity.type}
            log_unexpected(_log, "the similarity of answers cannot be measured", error, fields)
            raise GatewayError("the winner could not be chosen") from error
