"""What the strategies that draw a pool of candidates share: draw it, then take the best."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bon_gateway.errors import NoRewardError
from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.draw import Plan, draw
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.select import select
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.validity import MISPLACED
from bon_gateway.types import Candidate, ChatRequest, Selection

REASONS_TOLD = 3

Order = Callable[[ChatRequest, Sequence[Candidate]], Awaitable[Sequence[int]]]
"""Gives the indices of candidates that may win, best first; none if none may."""


async def best_of_pool(
    request: ChatRequest,
    policy: PolicyBackend,
    reward: RewardBackend | None,
    trace: Trace,
    *,
    strategy: str,
    settings: DrawSettings,
    drawn: int,
    keep: int,
    judge: Judge,
    order: Order | None = None,
) -> Selection:
    """Draw ``drawn`` candidates, keep the first ``keep`` usable ones, answer with the best.

    The best are those of the highest reward, unless ``order`` says which they are.

    Raises NoRewardError before anything is drawn if the reward model is down and the answer would
    be that error in any case.
    """
    if reward is not None and settings.fallback == "error" and not reward.ready():
        raise _none_up(reward)
    plan = Plan(
        drawn=drawn,
        keep=keep,
        deadline=None if settings.deadline_ms is None else settings.deadline_ms / 1000,
        min_candidates=min(settings.min_candidates, keep),
        retries=settings.retries,
    )
    check = await judge.check_for(request, policy)
    outcome = await draw(request, policy, reward, plan, check, trace)
    if MISPLACED in [candidate.reason for candidate in outcome.candidates]:
        judge.answer_in_reasoning(policy, request.request_id)
    best = None if order is None else await order(request, outcome.candidates)
    return select(outcome, request, strategy, settings.fallback, best)


def _none_up(reward: RewardBackend) -> NoRewardError:
    """For clients, so that it names no replica."""
    reasons = sorted(set(reward.troubles().values()))[:REASONS_TOLD]
    return NoRewardError(" ".join(["The reward model cannot score: none is up.", *reasons]))
