"""Shared by the strategies that draw several candidates: draw them, then take the best."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from bon_gateway.errors import NoRewardError
from bon_gateway.protocols import CandidateSource, PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.checkpoints import Looking
from bon_gateway.strategies.decide import rank, rank_by_confidence
from bon_gateway.strategies.draw import Draw, Drawn, Plan
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.select import check_top, select
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.signals import MEAN_LOGPROB
from bon_gateway.strategies.validity import MISPLACED
from bon_gateway.strategies.waves import WaveRule
from bon_gateway.types import Candidate, ChatRequest, Selection

REASONS_TOLD = 3


class Guidance(msgspec.Struct, frozen=True):
    """What decides while candidates are drawn."""

    rule: WaveRule | None = None
    """Whether there is another wave; None draws all at once."""
    looking: Looking | None = None
    """How candidates are looked at before their end, and how many to start; None leaves them
    alone."""


@dataclass(frozen=True, slots=True)
class PoolStrategy:
    """Draws the number of candidates in its settings, keeps the first ``n`` usable ones and answers
    with the best. A subclass may override ``order`` or ``decide``, and ``wave_rule`` or
    ``guidance``."""

    settings: DrawSettings
    referee: Referee = field(default_factory=Referee)

    @property
    def name(self) -> str:
        return self.settings.type

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """Indices of the candidates that may win, best first."""
        return rank(candidates)

    async def decide(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        """``order``, for a subclass that reads answers and so must know how the policy thinks."""
        return await self.order(request, candidates)

    async def decide_by_confidence(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        """The same where all rewards are lost and the fallback is ``confidence``."""
        return rank_by_confidence(candidates)

    def wave_rule(
        self, request: ChatRequest, policy: PolicyBackend, trace: Trace
    ) -> WaveRule | None:
        """Decides after each wave whether there is another; None draws all at once."""
        return None

    def source(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> CandidateSource:
        """What draws the candidates; a subclass may ask further policies."""
        return policy

    def most(self, request: ChatRequest) -> int:
        """The most candidates that it draws. One policy has only one at temperature 0."""
        return 1 if request.greedy else self.settings.drawn

    def guidance(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> Guidance:
        """All that decides during the draw. Asked once for each request."""
        return Guidance(self.wave_rule(request, policy, trace))

    def drawn(self, request: ChatRequest) -> int:
        # Candidates beyond n are drawn only to be cut; the client cannot ask for them.
        check_top(request, self._kept(request))
        return self.most(request)

    def _kept(self, request: ChatRequest) -> int:
        return 1 if request.greedy else self.settings.n

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        """Raises NoRewardError before anything is drawn if the reward model is down and
        ``fallback`` would make that the answer anyway."""
        settings, kept = self.settings, self._kept(request)
        signal = settings.chooses_by
        if signal is not None:
            reward = None
        elif reward is not None and settings.fallback == "confidence":
            signal = MEAN_LOGPROB
        if reward is not None and settings.fallback == "error" and not reward.ready():
            raise _none_up(reward)
        drawn = self.drawn(request)
        # With the one candidate of temperature 0 there is nothing to decide on.
        alone = request.greedy and drawn == 1
        guidance = Guidance() if alone else self.guidance(request, policy, trace)
        rule, looking = guidance.rule, None if reward is None else guidance.looking
        if looking is not None and looking.started is not None:
            drawn = looking.started
        plan = Plan(
            drawn=drawn,
            keep=kept if rule is None and looking is None else drawn,
            deadline=None if settings.deadline_ms is None else settings.deadline_ms / 1000,
            min_candidates=min(settings.min_candidates, kept),
            retries=settings.retries,
        )
        if plan.deadline is not None:
            trace.deadline_at = asyncio.get_running_loop().time() + plan.deadline
        check = await self.referee.check_for(request, policy)
        measured = msgspec.structs.replace(request, signal=signal)
        source = self.source(request, policy, trace)
        draw = Draw(measured, source, reward, plan, check, trace, rule, looking)
        outcome = await draw.run()
        if MISPLACED in [candidate.reason for candidate in outcome.candidates]:
            self.referee.answer_in_reasoning(policy, request.request_id)
        stands_in = settings.fallback == "confidence" and _all_lost(outcome)
        decide = self.decide_by_confidence if stands_in else self.decide
        order = await decide(request, policy, outcome.candidates, trace)
        selection = select(
            outcome,
            request,
            order,
            self.name,
            settings.fallback,
            by_confidence=stands_in or settings.chooses_by is not None,
            plain=1 if request.greedy else settings.n,
        )
        return _embedded(selection, trace) if settings.embeds else selection


def _embedded(selection: Selection, trace: Trace) -> Selection:
    """Adds the result of embedding its answers."""
    lost = ("embedder_unavailable",) if trace.embedder_lost else ()
    return msgspec.structs.replace(
        selection, degraded=(*selection.degraded, *lost), diversity=trace.diversity
    )


def _all_lost(drawn: Drawn) -> bool:
    """Whether the reward model failed and left no reward."""
    scored = any(candidate.reward is not None for candidate in drawn.candidates)
    return bool(drawn.reward_errors) and not scored


def _none_up(reward: RewardBackend) -> NoRewardError:
    """Clients see this error, so it names no replica."""
    reasons = sorted(set(reward.troubles().values()))[:REASONS_TOLD]
    return NoRewardError(" ".join(["The reward model cannot score: none is up.", *reasons]))
